"""The ways to Redis: addresses, and clients of one server, of Sentinels' master, of a Cluster."""
