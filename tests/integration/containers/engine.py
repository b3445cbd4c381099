"""A Docker engine: the one that answers on this machine, else one of our own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from integration.controlplane import binaries

from .daemon import daemon
from .distribution import Unavailable, programs

__all__ = ["Container", "Engine", "EngineFailed", "Unavailable", "engine_here", "running_engine"]

BUILD_TIMEOUT_S = 900.0


class EngineFailed(Exception):
    """Docker refused or failed; the message is what it wrote to standard error."""


@contextmanager
def running_engine(*, privileged: bool = False) -> Iterator[Engine]:
    """Find the engine that `docker` talks to, or run one.

    Args:
        privileged: Whether it must run privileged containers.

    Raises:
        Unavailable: There is none and none can be run; the message says why.
    """
    if engine := engine_here(privileged=privileged):
        yield engine
    else:
        with daemon() as host:
            yield Engine(host, own=True)


def engine_here(*, privileged: bool = False) -> Engine | None:
    """Find the engine that `docker` talks to, by DOCKER_HOST or its current context; None if none answers.

    Args:
        privileged: Whether it must run privileged containers. One that does not is none.

    Raises:
        Unavailable: There is no `docker` and it could not be installed.
    """
    engine = Engine(os.environ.get("DOCKER_HOST"))
    return engine if engine.answers() and (not privileged or engine.may_privilege()) else None


class Engine:
    """Builds images and runs containers. Its methods block, and may be called from any thread.

    Args:
        host: The daemon's address; None for the client's own choice.
        own: Whether it is there for us alone, and can be expected to have nothing and to pull nothing.
    """

    def __init__(self, host: str | None, *, own: bool = False) -> None:
        self.own = own
        self.environment = {**os.environ, **({"DOCKER_HOST": host} if host else {})}
        """For other programs that talk to this engine."""
        self._docker = docker = programs({"docker": "docker.io"})["docker"]
        # What BuildKit needs beside the daemon; without it the daemon's own builder does the same, layer by layer.
        buildx = subprocess.run([docker, "buildx", "version"], capture_output=True, check=False).returncode == 0
        self.environment["DOCKER_BUILDKIT"] = "1" if buildx else "0"

    def answers(self) -> bool:
        """Ask whether the daemon is there."""
        command = [self._docker, "version"]
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    def docker(self, *args: str, stdin: IO[bytes] | None = None, timeout_s: float = 120.0) -> str:
        """Run `docker ARGS` and return its standard output.

        Raises:
            EngineFailed: It ended with an error, or not within `timeout_s` seconds.
        """
        command = [self._docker, *args]
        try:
            done = subprocess.run(
                command,
                env=self.environment,
                stdin=stdin,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise EngineFailed(f"docker {' '.join(args)} did not end within {timeout_s:g} s") from exc
        if done.returncode:
            raise EngineFailed(f"docker {' '.join(args)}: {done.stdout[-4000:]}{done.stderr[-4000:]}".strip())
        return done.stdout

    def build(self, context: Path, tag: str, build_args: Mapping[str, str] | None = None) -> str:
        """Build a directory's Dockerfile, with the host's network, and return the tag."""
        arguments = [f"--build-arg={name}={value}" for name, value in (build_args or {}).items()]
        self.docker("build", "--network=host", f"--tag={tag}", *arguments, str(context), timeout_s=BUILD_TIMEOUT_S)
        return tag

    def load_root(self, archive: Path, tag: str, *instructions: str) -> str:
        """Make an image of one layer from a tar archive of a root directory, and return the tag.

        Args:
            archive: The directory's.
            tag: What to call it.
            instructions: Of a Dockerfile, for its configuration: `ENTRYPOINT ["/init"]`.
        """
        with archive.open("rb") as content:
            self.docker("import", *(f"--change={each}" for each in instructions), "-", tag, stdin=content)
        return tag

    def save(self, image: str, archive: Path) -> Path:
        """Write an image to a tar archive, for example for `ctr images import`; return the archive."""
        self.docker("save", f"--output={archive}", image)
        return archive

    def may_privilege(self) -> bool:
        """Try whether it runs privileged containers: a machine that lacks a privilege cannot give it."""
        with tempfile.TemporaryDirectory(prefix="kdm-privileged-") as directory:
            archive = Path(directory, "image.tar")
            with tarfile.open(archive, "w") as packed:
                packed.add(binaries.built("kind"), "kind")  # a static program, and at hand
            image = self.load_root(archive, "kdm-test/privileged")
        try:
            self.output(image, "/kind", "version", options=("--privileged", "--network=none"))
        except EngineFailed as exc:
            if "unable to apply caps" in str(exc):
                return False
            raise
        finally:
            self.docker("rmi", "--force", image)
        return True

    def inspect(self, image: str) -> dict[str, Any]:
        """Return what `docker image inspect` says of one image."""
        (answer,) = json.loads(self.docker("image", "inspect", image))
        assert isinstance(answer, dict)
        return answer

    def files(self, image: str) -> dict[str, str]:
        """Tell what is in an image's layers, also what a later layer hides.

        Returns:
            Name, `opt/kdm/bin/kdm` -> everything a layer records of it: type, mode, owner, time, content's digest.
        """
        found: dict[str, str] = {}
        with (
            tempfile.TemporaryDirectory(prefix="kdm-layers-") as directory,
            tarfile.open(self.save(image, Path(directory, "image.tar"))) as archive,
        ):
            manifest = archive.extractfile("manifest.json")
            assert manifest is not None
            for layer in json.load(manifest)[0]["Layers"]:
                with tarfile.open(fileobj=archive.extractfile(layer)) as files:
                    for file in files:
                        content = files.extractfile(file) if file.isfile() else None
                        digest = hashlib.sha256(content.read()).hexdigest() if content else file.linkname
                        facts = f"{file.type!r} {file.mode:o} {file.uid}:{file.gid} {file.mtime} {digest}"
                        found[file.name.removeprefix("./")] = facts
        return found

    def run(self, image: str, *command: str, options: Sequence[str] = ()) -> Container:
        """Start a container in the background and return it; leaving its `with` block removes it.

        Args:
            image: What to run.
            command: Arguments of the image's entrypoint.
            options: Of `docker run`.
        """
        container = self.docker("run", "--detach", *options, image, *command).strip()
        return Container(self, container)

    def output(self, image: str, *command: str, options: Sequence[str] = ()) -> str:
        """Run a container to its end, remove it and return its standard output.

        Raises:
            EngineFailed: It ended with an error; the message has what it printed.
        """
        return self.docker("run", "--rm", *options, image, *command)


class Container:
    """One container. As a context manager it is removed at the end."""

    def __init__(self, engine: Engine, container_id: str) -> None:
        self.id = container_id
        self._engine = engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.remove()

    @property
    def state(self) -> dict[str, Any]:
        """What Docker knows of its process: `Running`, `ExitCode`, `OOMKilled` and others."""
        answer = json.loads(self._engine.docker("container", "inspect", "--format={{json .State}}", self.id))
        assert isinstance(answer, dict)
        return answer

    def logs(self) -> str:
        """Return what it printed so far, standard error after standard output."""
        command = [self._engine._docker, "logs", self.id]
        done = subprocess.run(
            command, env=self._engine.environment, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
        return done.stdout + done.stderr

    def exec(self, *command: str, options: Sequence[str] = ()) -> str:
        """Run a program in it to its end and return its standard output.

        Raises:
            EngineFailed: It ended with an error.
        """
        return self._engine.docker("exec", *options, self.id, *command)

    def signal(self, name: str) -> None:
        """Send a signal to its first process: `SIGTERM`."""
        self._engine.docker("kill", f"--signal={name}", self.id)

    def wait(self, timeout_s: float = 30.0) -> int:
        """Wait for its end and return the exit code.

        Raises:
            EngineFailed: It did not end within `timeout_s` seconds.
        """
        return int(self._engine.docker("wait", self.id, timeout_s=timeout_s))

    def remove(self) -> None:
        """End it if it runs, and remove it with its volumes."""
        self._engine.docker("rm", "--force", "--volumes", self.id)
