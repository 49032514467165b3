"""The way in: validate, serialize and enqueue records."""
