"""A containerd of the tests' own: everything it has is in one directory, and ends with it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from pathlib import Path
from typing import Final

from integration.controlplane.process import Process

from .pause_image import PAUSE, write_archive

__all__ = ["Containerd", "ContainerdFailed"]

NAMESPACE: Final = "k8s.io"  # the CRI plugin's
NETWORK: Final = "kdm-pods"
CNI_PLUGINS: Final = next((path for path in map(Path, ("/usr/lib/cni", "/opt/cni/bin")) if path.is_dir()), None)
START_TIMEOUT_S: Final = 30.0
END_TIMEOUT_S: Final = 60.0
COMMAND_TIMEOUT_S: Final = 120.0
POLL_S: Final = 0.1

# restrict_oom_score_adj: a machine without CAP_SYS_RESOURCE cannot lower it, and every sandbox would die of that.
_CONFIG: Final = """\
version = 2
root = "{directory}/root"
state = "{directory}/state"

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{directory}/cni"
"""


class ContainerdFailed(Exception):
    """containerd or a command to it failed; the message carries its own words."""


class Containerd:
    """containerd with the CRI, and a network of Pods on one bridge. Needs root.

    Attributes:
        socket: Where the CRI is served.
        process: containerd itself. Its shims are not its children: `end` ends them.
    """

    def __init__(self, directory: Path, logs: Path) -> None:
        """Describe it; nothing is written yet.

        Args:
            directory: Of all it has. A short path: it holds sockets.
            logs: The directory of its log.
        """
        self._directory = directory
        self.socket = directory / "containerd.sock"
        config = directory / "config.toml"
        self.process = Process(["containerd", "--config", str(config)], logs / "containerd.log")

    def configure(self, bridge: str, subnet: str) -> None:
        """Write the configuration.

        Args:
            bridge: The interface all Pods are on; it exists, or comes with the first Pod.
            subnet: The Pods' addresses, such as `10.77.0.0/24`; the bridge has the first.
        """
        (self._directory / "cni").mkdir(parents=True, exist_ok=True)
        plugin = {
            "type": "bridge",
            "bridge": bridge,
            "isDefaultGateway": True,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "subnet": subnet, "dataDir": str(self._directory / "addresses")},
        }
        network = {"cniVersion": "0.4.0", "name": NETWORK, "plugins": [plugin]}
        (self._directory / "cni" / "10-pods.conflist").write_text(json.dumps(network))
        (self._directory / "config.toml").write_text(
            _CONFIG.format(directory=self._directory, socket=self.socket, pause=PAUSE, plugins=CNI_PLUGINS)
        )

    def start(self) -> None:
        """Start it, and return when it answers and has the image of sandboxes.

        Raises:
            ContainerdFailed: It does not.
        """
        self.process.start()
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self._ctr("version")
                break
            except ContainerdFailed as exc:
                if time.monotonic() > deadline_s or not self.process.running:
                    raise ContainerdFailed(f"{exc}\n--- the end of its log:\n{self.process.log_tail()}") from exc
            time.sleep(POLL_S)

    def load_pause(self) -> None:
        """Make the image that sandboxes are made of, and load it."""
        self.load(write_archive(self._directory / "pause.tar"))

    def load(self, archive: Path) -> None:
        """Make an image known to the kubelet.

        Args:
            archive: As `docker save` writes it.
        """
        self._ctr("images", "import", str(archive))

    def images(self) -> list[str]:
        """The names of the images that Pods can run."""
        return self._ctr("images", "ls", "--quiet").split()

    def kill(self, container: str) -> None:
        """Kill what runs in one container, as a crash does.

        Args:
            container: As a Pod's status names it: `containerd://...`.
        """
        self._ctr("tasks", "kill", "--signal=SIGKILL", container.removeprefix("containerd://"))

    def end(self) -> None:
        """Kill what runs in containers, and with it the shims, then end. The kubelet must have ended before."""
        if not (self._directory / "config.toml").exists():
            return
        try:
            self.start()  # only it knows its containers, also those of a run that was killed
            deadline_s = time.monotonic() + END_TIMEOUT_S
            while left := self._ctr("tasks", "ls", "--quiet").split():
                if time.monotonic() > deadline_s:
                    raise ContainerdFailed(f"containers do not end: {' '.join(left)}")
                for task in left:
                    with contextlib.suppress(ContainerdFailed):  # the CRI removes those that end, too
                        self._ctr("tasks", "rm", "--force", task)
        finally:
            self.process.stop()

    def _ctr(self, *args: str) -> str:
        command = ["ctr", f"--address={self.socket}", f"--namespace={NAMESPACE}", *args]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired as exc:
            raise ContainerdFailed(f"ctr {' '.join(args)} did not end within {COMMAND_TIMEOUT_S:g} s") from exc
        if done.returncode:
            raise ContainerdFailed(f"ctr {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout
