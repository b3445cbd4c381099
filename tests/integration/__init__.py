"""Tests of kdm against a real Kubernetes API."""
