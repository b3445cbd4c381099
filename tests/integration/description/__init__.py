"""kdm's description of its API, as others read it."""
