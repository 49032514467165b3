"""The operators' dashboard: pages that show the flow, and let people fix and replay dead letters.

`routes` is what the gateway mounts at `/`. Each other module is one page or one concern of all
pages; what moves records lies below, and the command line uses the same.
"""
