"""Whatever kdm has to do with stands still, or is full."""
