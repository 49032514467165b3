"""Metrics in Prometheus' conventions: what there is, how it is read from Redis, who may see it."""
