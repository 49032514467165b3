"""The gateway's HTTP server: endpoints, middleware, limits and errors."""
