"""The operators' dashboard: pages that show the flow, and let people fix and replay dead letters.

`routes` is what the gateway mounts at `/`. What moves records lies below; the command line uses it.
"""
