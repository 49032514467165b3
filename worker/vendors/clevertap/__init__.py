"""CleverTap: its schema, its upload adapter and its read APIs."""
