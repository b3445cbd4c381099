"""The watch: a state machine without I/O, and what obeys it."""
