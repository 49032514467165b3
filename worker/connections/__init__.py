"""Redis addresses, and clients of one server, of the master of Sentinels, and of a Cluster."""
