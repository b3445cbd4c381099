"""What the commands print: tables, JSON, YAML, names, and views that stay up to date."""
