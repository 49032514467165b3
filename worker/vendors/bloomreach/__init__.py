"""Bloomreach: its schema and its upload adapter."""
