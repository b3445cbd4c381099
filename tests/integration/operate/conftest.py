"""Builds Prometheus before the tests: inside a test it would count as the test's own time."""

from __future__ import annotations

from pathlib import Path

import pytest

from integration.controlplane import binaries

from . import prometheus

HERE = Path(__file__).parent


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build now what the tests here will need."""
    needing = [item for item in session.items if HERE in item.path.parents and item.get_closest_marker("nightly")]
    if session.config.option.collectonly or not needing:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        try:
            prometheus.programs()
        except binaries.BuildFailed as exc:
            pytest.exit(f"no Prometheus to test with: {exc}", returncode=1)
