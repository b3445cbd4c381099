"""kdm serving from its image: as little as a container can be given, and clients to talk to it."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from integration.containers.engine import Container, Engine
from integration.kdm_process import plain_get, wait_until

USER: Final = 65532
CONFINED: Final = (
    "--network=host",
    "--read-only",
    f"--user={USER}:{USER}",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
)
START_TIMEOUT_S: Final = 60.0


class Pki:
    """A directory of certificates that the image's own `kdm certs` made."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def client(self, name: str, base_url: str) -> httpx.Client:
        """A client of the API with the certificate of this name."""
        return httpx.Client(base_url=base_url, verify=self.context(name), trust_env=False, timeout=30)

    def context(self, name: str | None) -> ssl.SSLContext:
        """Trust the CA, and show the certificate of this name; none for None."""
        context = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        if name is not None:
            context.load_cert_chain(self.directory / f"{name}.pem", self.directory / f"{name}-key.pem")
        return context


class Served:
    """A container in which `kdm serve` answers."""

    def __init__(self, container: Container, pki: Pki) -> None:
        self.container = container
        self.pki = pki
        self.url = self.ops_url = ""

    def wait_started(self) -> None:
        """Wait until it says where it listens."""

        def told() -> bool:
            logs = self.container.logs()
            if found := re.search(r"kdm serves (https://\S+) .* on (http://\S+)", logs):
                self.url, self.ops_url = found.groups()
            assert self.url or self.container.state["Running"], f"kdm ended at its start:\n{logs}"
            return bool(self.url)

        wait_until(told, START_TIMEOUT_S)

    def ready(self) -> bool:
        return plain_get(f"{self.ops_url}/readyz").status_code == 200


@contextmanager
def serving(
    engine: Engine, image: str, pki: Pki, settings: Mapping[str, str], options: tuple[str, ...] = ()
) -> Iterator[Served]:
    """Run the image as it is, on loopback and free ports, with certificates mounted and nothing it may write.

    Args:
        engine: Where.
        image: Of kdm.
        pki: The server's and the clients' certificates.
        settings: More ``KDM_*`` variables, without their prefix.
        options: More of `docker run`: what it may have beside.
    """
    tls = {
        "TLS_CERT": "server.pem",
        "TLS_KEY": "server-key.pem",
        "TLS_CLIENT_CA": "ca.pem",
        "TLS_CLIENT_CRL": "crl.pem",
    }
    mounted = {name: f"/etc/kdm/tls/{file}" for name, file in tls.items()}
    loopback = {"HOST": "127.0.0.1", "PORT": "0", "OPS_HOST": "127.0.0.1", "OPS_PORT": "0"}
    environment = [f"--env=KDM_{name}={value}" for name, value in {**mounted, **loopback, **settings}.items()]
    mounts = [f"--volume={pki.directory}:/etc/kdm/tls:ro"]
    with engine.run(image, options=[*CONFINED, *mounts, *environment, *options]) as container:
        served = Served(container, pki)
        served.wait_started()
        wait_until(served.ready, START_TIMEOUT_S)
        yield served
