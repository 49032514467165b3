"""The terminal: input, output, signals and progress."""
