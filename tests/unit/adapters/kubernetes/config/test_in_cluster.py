"""The official client's few parts that kdm uses, and the rest of it that others may."""

from __future__ import annotations

import subprocess
import sys

ENTER = "import sys, kdm_adapters.kubernetes as ours; from kdm_adapters.kubernetes.config import in_cluster\n"


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_api_of_the_official_client_is_not_loaded() -> None:
    """It would be 20 MB and half a second, unused."""
    loaded = "print(len([each for each in sys.modules if each.startswith('kubernetes')]))"
    assert run(ENTER + loaded) == "0"
    assert run(ENTER + "print(in_cluster.InClusterConfigLoader.__module__)") == "kubernetes.aio.config.incluster_config"


def test_who_imports_the_official_client_afterwards_gets_all_of_it() -> None:
    assert run(ENTER + "from kubernetes import client; print(client.AppsV1Api.__name__)") == "AppsV1Api"
    assert run(ENTER + "import kubernetes.aio; print(kubernetes.aio.client.ApiClient.__name__)") == "ApiClient"


def test_an_official_client_that_is_loaded_already_is_used() -> None:
    program = "import kubernetes.aio.config.incluster_config as theirs\n" + ENTER
    assert run(program + "print(in_cluster.InClusterConfigLoader is theirs.InClusterConfigLoader)") == "True"
