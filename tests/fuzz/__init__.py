"""Searches for bytes from outside that kdm cannot take: `nox -s fuzz`.

``targets`` holds what parses such bytes, each with the laws it must keep; ``search`` looks for a counterexample, led by
coverage; ``wire`` sends mutated requests to a kdm that serves.
"""
