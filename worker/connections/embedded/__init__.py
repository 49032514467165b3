"""A private Redis for trying, developing and testing: its program, its process, its server."""
