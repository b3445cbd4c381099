"""Tests on running servers."""

from __future__ import annotations

from unit.http.serving import connect, credentials, pytest_asyncio_loop_factories, start

__all__ = ["connect", "credentials", "pytest_asyncio_loop_factories", "start"]
