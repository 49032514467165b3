"""Metrics in Prometheus' conventions: declared, read from Redis, and shown to those who may."""
