"""A local stand-in for both vendors, for development and tests: `ingest sandbox` runs it.

It has its own rules: two sides that agree because they run the same code would prove nothing.
"""
