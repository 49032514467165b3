"""The operators' dashboard: pages to watch the flow, and to fix and replay dead letters."""
