"""Streams of server-sent events: what happens to Deployments, as each client may see it and asked for."""
