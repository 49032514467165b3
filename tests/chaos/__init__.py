"""The promise under test: real processes, a hostile vendor, random SIGKILLs, and a ledger.

`make chaos` runs it; docs/promise.md describes what it proves and shows its output.
"""
