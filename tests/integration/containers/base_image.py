"""A base image without pulling one: the distribution's own minimal system with Python, made by debootstrap.

What is built in it has to reach the host's package index as the host does. So a second image, for building alone, knows
the host's certificate authorities and pip's settings; nothing of these gets into the first.
"""

from __future__ import annotations

import configparser
import os
import shutil
import ssl
import tempfile
from pathlib import Path

from integration.controlplane import binaries

from .debian import SUITE, install_system, pack
from .engine import Engine

__all__ = ["base_image", "builder_image", "root_archive"]

PACKAGES = ("ca-certificates", "python3-minimal", "python3-venv")
RECIPE = 1  # count up to have it made again
BASE = "kdm-test/base"
BUILDER = "kdm-test/builder"

# What pip on the host may have been told about reaching its index; paths other than `cert` mean nothing in an image.
PIP_SETTINGS = ("extra-index-url", "index-url", "proxy", "retries", "timeout", "trusted-host")


def base_image(engine: Engine) -> str:
    """Load the base image into an engine that lacks it and return its tag. The first time on a machine it is made.

    Raises:
        Unavailable: debootstrap is missing, or cannot run here.
        BuildFailed: debootstrap failed.
    """
    tag = f"{BASE}:{_recipe()}"
    # Loaded again it were another image, and all that was built on it would be built again.
    return tag if engine.docker("images", "--quiet", tag) else engine.load_root(root_archive(), tag)


def builder_image(engine: Engine, base: str) -> str:
    """Derive an image in which pip reaches the index that it reaches on this host, and return its tag."""
    with tempfile.TemporaryDirectory(prefix="kdm-builder-") as directory:
        context = Path(directory)
        shutil.copyfile(_certificate_authorities(), context / "ca.pem")
        (context / "pip.conf").write_text(_pip_conf("/etc/kdm-test-ca.pem"), encoding="utf-8")
        (context / "Dockerfile").write_text(
            f"FROM {base}\nCOPY ca.pem /etc/kdm-test-ca.pem\nCOPY pip.conf /etc/pip.conf\n", encoding="utf-8"
        )
        return engine.build(context, BUILDER)


def root_archive() -> Path:
    """Make the base system, or find that somebody did, and return it as a tar archive."""

    def make(directory: Path) -> None:
        with (
            tempfile.TemporaryDirectory(prefix="root-", dir=directory) as root,
            binaries.progress("making a base image"),
        ):
            install_system(Path(root), PACKAGES)
            pack(Path(root), directory / "root.tar")

    return binaries.cached(f"base-image-{_recipe()}", make) / "root.tar"


def _recipe() -> str:
    return binaries.digest(repr((SUITE, PACKAGES, RECIPE, os.uname().machine)).encode())


def _certificate_authorities() -> Path:
    """What this host verifies servers with: what pip or OpenSSL is told, else the distribution's."""
    told = [os.environ.get(name) for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")]
    told += [_pip_settings().get("cert"), ssl.get_default_verify_paths().cafile, "/etc/ssl/certs/ca-certificates.crt"]
    return next(path for each in told if each and (path := Path(each)).is_file())


def _pip_conf(ca: str) -> str:
    settings = {name: value for name, value in _pip_settings().items() if name in PIP_SETTINGS} | {"cert": ca}
    # Values of several lines go on indented, as pip writes them itself.
    lines = [f"{name} = {value.replace(chr(10), chr(10) + '  ')}" for name, value in settings.items()]
    return "\n".join(["[global]", *lines, ""])


def _pip_settings() -> dict[str, str]:
    """Read what pip is told on this host, in files and variables (pip's documentation: Configuration)."""
    parser = configparser.RawConfigParser()
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    files = [Path("/etc/pip.conf"), Path.home() / ".pip" / "pip.conf", config_home / "pip" / "pip.conf"]
    parser.read([*files, os.environ.get("PIP_CONFIG_FILE", os.devnull)], encoding="utf-8")
    settings = {
        name: value for part in ("global", "install") if parser.has_section(part) for name, value in parser.items(part)
    }
    settings |= {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in os.environ.items()
        if name.startswith("PIP_")
    }
    return settings
