"""The container image: what is in it, and kdm running from it."""
