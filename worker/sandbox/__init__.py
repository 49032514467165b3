"""A local stand-in for both vendors, for development and tests.

It has its own rules and shares no code with the worker's vendors: two sides that agree because they
run the same code would prove nothing. ``ingest sandbox`` runs it (`worker.sandbox.server`);
`worker.sandbox.sample_traffic` makes traffic for it.
"""
