"""Builds Prometheus before the tests: inside a test it would count as the test's own time."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.controlplane import binaries

from . import prometheus

HERE = Path(__file__).parent


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build now what the nightly tests here will need; the others need no Prometheus."""
    needed = any(HERE in item.path.parents and item.get_closest_marker("nightly") for item in session.items)
    if session.config.option.collectonly or not needed:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        try:
            prometheus.programs()
        except binaries.BuildFailed as exc:
            pytest.exit(f"no Prometheus to test with: {exc}", returncode=1)
