"""What `make bench` runs: every contender on the same records, in one run, in turn."""
