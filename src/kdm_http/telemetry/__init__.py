"""What the edge counts and traces."""
