"""Connections: accepting them, their limits, HTTP on them, their end."""
