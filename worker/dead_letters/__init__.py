"""Records that could not be delivered: finding them, grouping them, replaying them."""
