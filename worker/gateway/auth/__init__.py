"""Who may enqueue through the gateway: API keys, vendor credentials and rate limits."""
