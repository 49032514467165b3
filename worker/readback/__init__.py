"""Asking the vendor back: exports, counts, and the reconciliation of our counts with its."""
