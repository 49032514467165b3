"""A Django project that sends its customers' orders and profiles."""
