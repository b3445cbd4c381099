"""The commands, one module each, and the tree that they form."""
