"""The vendors' upload APIs, as the gateway serves them."""
