"""Whether kdm's watch cache stays right and small under changes and faults: `python -m benchmarks.soak`."""
