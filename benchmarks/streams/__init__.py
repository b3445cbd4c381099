"""How long a change takes to arrive on one stream, and on the last of many."""
