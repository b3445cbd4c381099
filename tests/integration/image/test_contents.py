"""What the image consists of: no more than kdm needs, and the same every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from integration.containers.engine import Engine
from integration.containers.fixtures import build_kdm

from .serving import CONFINED, USER

MOST_MB = 90.0
PYTHON = "--entrypoint=/opt/kdm/bin/python"
# Where anybody may write, on every Linux. A read-only container's are read-only, or memory.
ANYBODYS = ("/dev", "/proc", "/run/lock", "/sys", "/tmp", "/var/tmp")  # noqa: S108 - not used, recognised

WRITABLE = """
import os, json
found = []
for directory, directories, files in os.walk("/"):
    directories[:] = [name for name in directories if os.path.join(directory, name) not in {skipped!r}]
    paths = [os.path.join(directory, name) for name in (*files, ".")]
    found += [path for path in paths if not os.path.islink(path) and os.access(path, os.W_OK)]
print(json.dumps(found))
"""
LOADED = """
import json, os, sys
import kdm_cli.main, kdm_adapters.kubernetes, kubernetes.aio.config.kube_config, kubernetes.aio.config.incluster_config
loaded = {name: module.__spec__ for name, module in sys.modules.items() if getattr(module, "__spec__", None)}
kept = {name: spec.cached for name, spec in loaded.items() if spec.has_location and spec.origin.startswith("/opt/kdm")}
def kind(path):
    return int.from_bytes(open(path, "rb").read(8)[4:], "little") if os.path.exists(path) else None
print(json.dumps({name: kind(path) for name, path in kept.items() if path}))
"""


@pytest.fixture(scope="module")
def config(engine: Engine, kdm_image: str) -> dict[str, Any]:
    config: dict[str, Any] = engine.inspect(kdm_image)["Config"]
    return config


def test_it_runs_kdm_directly_as_a_user_by_number(config: dict[str, Any]) -> None:
    """In exec form, so that kdm and no shell gets the signals; a number, which runAsNonRoot can judge."""
    assert config["Entrypoint"] == ["/opt/kdm/bin/kdm"]
    assert config["Cmd"] == ["serve"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["StopSignal"] == "SIGTERM"
    assert config["ExposedPorts"].keys() == {"8443/tcp", "8081/tcp"}


def test_labels_tell_what_it_was_made_of(config: dict[str, Any]) -> None:
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["title"] == "kdm"
    assert labels["version"] == "0.1.0"
    assert len(labels["revision"].removesuffix("-dirty")) == 40
    assert labels["created"].endswith("+00:00")


def test_its_user_can_write_none_of_its_files(engine: Engine, kdm_image: str) -> None:
    """Even where the container's root is not read-only."""
    script = WRITABLE.format(skipped=set(ANYBODYS))
    assert json.loads(engine.output(kdm_image, "-c", script, options=["--network=host", PYTHON])) == []


def test_nothing_is_compiled_at_its_start(engine: Engine, kdm_image: str) -> None:
    """A read-only container could keep no bytecode: all that kdm loads has its own, which looks at no source."""
    kinds = json.loads(engine.output(kdm_image, "-c", LOADED, options=[*CONFINED, PYTHON]))
    assert "kdm_cli.main" in kinds
    assert {name for name, kind in kinds.items() if kind != 0b01} == set(), "0b01 is PEP 552's unchecked hash"


def test_it_holds_no_key_no_test_no_installer(engine: Engine, kdm_image: str) -> None:
    """Looked for in the layers themselves, where what a later layer hides would still be."""
    names = [name.lower() for name in engine.files(kdm_image) if name.startswith("opt/")]
    assert "opt/kdm/bin/kdm" in names
    assert [name for name in names if name.endswith("-key.pem") or "dev-" in name] == []
    assert [name for name in names if "/test/" in name or "/tests/" in name or "_test.py" in name] == []
    installers = ("/site-packages/pip/", "/site-packages/setuptools/", "/site-packages/hatchling/")
    assert [name for name in names if any(each in name for each in installers)] == []


def test_what_it_adds_to_its_base_is_small(engine: Engine, kdm_image: str, base_image: str) -> None:
    added_mb = (engine.inspect(kdm_image)["Size"] - engine.inspect(base_image)["Size"]) / 1e6
    print(f"kdm adds {added_mb:.1f} MB to its base")
    assert added_mb < MOST_MB


@pytest.mark.nightly
def test_two_builds_have_the_same_layers(
    engine: Engine, checkout: Path, kdm_image: str, builder_image: str, base_image: str
) -> None:
    """The second reuses nothing of the first, down to times and modes."""
    again = build_kdm(engine, checkout, "kdm-test/kdm-again", builder_image, base_image, "--no-cache")
    assert engine.files(again) == engine.files(kdm_image)  # says which file, and what of it
    layers = [engine.inspect(image)["RootFS"]["Layers"] for image in (kdm_image, again)]
    assert layers[0] == layers[1]
    assert len(layers[0]) == len(engine.inspect(base_image)["RootFS"]["Layers"]) + 2
