"""A local stand-in for both vendors, with rules of its own: shared code would prove nothing."""
