"""The buffer in Redis: every place a record can be in, and every move between them."""
