"""The operators' dashboard: pages that show the flow, and take dead letters back to life.

`routes` is what the gateway mounts at `/`. Each other module is one page's work or one concern of
all pages; what moves records lies below, and the command line uses the same.
"""
