"""A private Redis for trying, developing and testing: its program, its processes, and its care."""
