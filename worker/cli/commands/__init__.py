"""The commands of `ingest`, one module each."""
