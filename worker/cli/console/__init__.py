"""What the commands share at the terminal: input, output, signals and progress."""
