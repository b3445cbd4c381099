"""What any cached repository needs, whatever it reads from: storing, broadcasting, own writes, backoff."""
