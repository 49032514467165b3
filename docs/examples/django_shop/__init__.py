"""A Django project that sends what its customers do."""
