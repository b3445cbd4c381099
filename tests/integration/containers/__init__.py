"""A Docker engine for tests, a base image made from the distribution's packages, and kdm's image on it."""
