"""Runs the integration tests on a kind cluster that is made for them and deleted afterwards.

Arguments go to pytest. The tests know nothing of kind: they get a kubeconfig through KDM_TEST_KUBECONFIG.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path


def main(pytest_args: list[str]) -> int:
    """Create, test, delete.

    Returns:
        pytest's exit code; 1, with the reason on standard error, where no cluster could be made.
    """
    for tool in ("docker", "kind"):
        if not shutil.which(tool):
            return _give_up(f"'{tool}' is not on the PATH; install it from your distribution or its project's site")
    if (docker := subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)).returncode:
        return _give_up(f"no Docker daemon answers:\n{docker.stderr.strip()}")
    name = f"kdm-test-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory(prefix="kdm-kind-") as directory:
        kubeconfig = Path(directory, "kubeconfig")
        try:
            command = ["kind", "create", "cluster", "--name", name, "--kubeconfig", str(kubeconfig), "--wait", "180s"]
            if subprocess.run(command, check=False).returncode:
                return _give_up("kind could not create a cluster (its own words are above)")
            return subprocess.run(
                [sys.executable, "-m", "pytest", "tests/integration", *pytest_args],
                env={**os.environ, "KDM_TEST_KUBECONFIG": str(kubeconfig)},
                check=False,
            ).returncode
        finally:
            subprocess.run(["kind", "delete", "cluster", "--name", name, "--kubeconfig", str(kubeconfig)], check=False)


def _give_up(reason: str) -> int:
    print(f"kind: no cluster, so nothing was tested: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
