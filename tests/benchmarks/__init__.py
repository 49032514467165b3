"""`make bench`: every contender on the same records, in one run, in turn."""
