"""kdm in a program that nobody here wrote."""
