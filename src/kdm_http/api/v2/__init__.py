"""API v2: namespaces in the path, all counts, safe writes, waiting, problems as RFC 9457 has them."""
