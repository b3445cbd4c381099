"""Talks to the API server."""
