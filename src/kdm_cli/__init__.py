"""The command `kdm`: it puts the core, the adapters and the edge together."""
