"""kdm over HTTPS with mutual TLS."""
