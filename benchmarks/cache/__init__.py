"""How much a watch cache costs: `python -m benchmarks.cache`."""
