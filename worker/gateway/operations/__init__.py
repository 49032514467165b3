"""Health, metrics and the OpenAPI document of the gateway."""
