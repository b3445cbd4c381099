"""A small certificate authority and its directory: what `kdm certs` makes."""
