"""`python -m integration.operate.picture`: draw the dashboard's panels from what a real Prometheus scraped.

A drawing, not Grafana: it says what the panels show, not how Grafana would show it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from attrs import asdict

from integration.controlplane import binaries
from integration.controlplane.cluster import ControlPlane

from . import dashboard
from .prometheus import Prometheus
from .scene import Scene

REPOSITORY: Final = Path(__file__).parents[3]
PICTURE: Final = REPOSITORY / "docs" / "img" / "dashboard.png"
SHOWN_S: Final = 180
STEP_S: Final = 2
VARIABLES: Final = {"namespace": "production", "pod": ".*", "__rate_interval": "15s", "__range": f"{SHOWN_S}s"}


def main() -> int:
    """Run the scene for three minutes and draw it."""
    interpreter = binaries.environment("dashboard", REPOSITORY / "requirements" / "dashboard.txt")
    with (
        tempfile.TemporaryDirectory() as directory,
        ControlPlane() as plane,
        plane.fresh_namespace() as namespace,
        Scene(plane, namespace, Path(directory)) as scene,
    ):
        print(f"drawing what happens in {SHOWN_S} s ...", file=sys.stderr, flush=True)
        for _ in range(2):
            time.sleep(SHOWN_S / 2)
            scene.check()
            scene.cut_the_watches()
        told = Path(directory) / "panels.json"
        told.write_text(json.dumps([_told(panel, scene.prometheus) for panel in dashboard.panels()]))
        drawing = Path(__file__).parent / "drawing.py"
        subprocess.run([interpreter, drawing, told, PICTURE], check=True)
    print(PICTURE)
    return 0


def _told(panel: dashboard.Panel, prometheus: Prometheus) -> dict[str, Any]:
    """Return a panel with its data: a name and points for each series."""
    series = [
        {"name": target.name_of(labels) or panel.title, "points": points}
        for target in panel.targets
        for labels, points in prometheus.query_range(target.with_variables(VARIABLES), SHOWN_S, STEP_S)
    ]
    return {**asdict(panel, filter=lambda attribute, _: attribute.name != "targets"), "series": series}


if __name__ == "__main__":
    sys.exit(main())
