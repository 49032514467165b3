"""Settings: read from the environment and `destinations.toml`, checked, each with its origin."""
