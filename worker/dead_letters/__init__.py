"""Records that nothing more is tried for: finding them, grouping them, sending them back."""
