"""What one would use instead of kdm, and the limits it is measured against."""
