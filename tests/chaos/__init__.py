"""The promise, tried: real processes, a hostile vendor, SIGKILLs at random, and a ledger.

`make chaos` runs it; docs/promise.md tells what it proves and shows what it printed.
"""
