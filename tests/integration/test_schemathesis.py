"""Schemathesis, as any client of the served description would run it, over mutual TLS against the running service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .kdm_process import CERTS, KdmProcess

EXAMPLES = 60


def test_schemathesis_finds_no_failure_over_mutual_tls(tmp_path: Path) -> None:
    """All its checks, positive and negative data, on every route of both dialects."""
    with KdmProcess({}, tmp_path / "log") as kdm:
        kdm.wait_ready()
        ran = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"{kdm.url}/api/v1/openapi.json",
                f"--tls-verify={CERTS / 'dev-ca.pem'}",
                f"--request-cert={CERTS / 'dev-admin.pem'}",
                f"--request-cert-key={CERTS / 'dev-admin-key.pem'}",
                "--checks=all",
                f"--max-examples={EXAMPLES}",
                "--seed=1",
                "--no-color",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=250,
        )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    assert "No issues found" in ran.stdout, ran.stdout[-3000:]
