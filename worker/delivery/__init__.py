"""The way out: claim, send, decide, settle."""
