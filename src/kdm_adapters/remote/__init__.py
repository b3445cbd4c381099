"""Another kdm as the home of Deployments: a repository over API v2, and a client for single calls.

Nothing is imported here: a program that makes one call loads no event loop.
"""
