"""A real Prometheus, built from its Go module, that scrapes what a test runs."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import yaml

from integration.controlplane import binaries
from integration.controlplane.process import Process
from integration.kdm_process import wait_until

PACKAGES: Final = {
    "prometheus": "github.com/prometheus/prometheus/cmd/prometheus",
    "promtool": "github.com/prometheus/prometheus/cmd/promtool",
}
TAGS: Final = "remove_all_sd,enable_kubernetes_sd"
"""Leaves out the clouds' SDKs: half of what there is to compile."""

SCRAPE_S: Final = 1

Labels = Mapping[str, str]
Point = tuple[float, float]


@cache
def programs() -> Path:
    """Return the directory that has prometheus and promtool; a first build takes minutes.

    Raises:
        BuildFailed: They could not be built.
    """
    return binaries.build(binaries.TOOLS, PACKAGES, TAGS)


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool to its end."""
    return subprocess.run(
        [programs() / "promtool", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


class Prometheus:
    """A Prometheus on a free loopback port, for as long as the context lasts.

    Args:
        targets: What to scrape each second: ``host:port`` -> the labels that a cluster's discovery would add.
        directory: For its data, configuration and log.
        rules: Rule files.
    """

    def __init__(self, targets: Mapping[str, Labels], directory: Path, rules: Iterable[Path] = ()) -> None:
        self._directory = directory
        configuration = {
            "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
            "rule_files": [str(each.absolute()) for each in rules],
            "scrape_configs": [
                {
                    "job_name": "kdm",
                    "static_configs": [
                        {"targets": [target], "labels": dict(labels)} for target, labels in targets.items()
                    ],
                }
            ],
        }
        self._configuration = directory / "prometheus.yml"
        self._configuration.write_text(yaml.safe_dump(configuration))

    def __enter__(self) -> Self:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._process = Process(
            [
                str(programs() / "prometheus"),
                f"--config.file={self._configuration}",
                f"--storage.tsdb.path={self._directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            self._directory / "prometheus.log",
        )
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)
        self._process.start()
        try:
            wait_until(self._is_ready)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._client.close()
        self._process.stop()

    def query(self, expression: str) -> list[tuple[Labels, float]]:
        """Evaluate an expression now.

        Raises:
            AssertionError: Prometheus refuses it; the message says why.
        """
        data = self._get("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(each["metric"], float(each["value"][1])) for each in data["result"]]

    def query_range(self, expression: str, seconds: float, step_s: float) -> list[tuple[Labels, list[Point]]]:
        """Evaluate an expression at every step of the last so many seconds."""
        now = time.time()
        data = self._get("query_range", query=expression, start=now - seconds, end=now, step=step_s)
        return [
            (each["metric"], [(float(at), float(value)) for at, value in each["values"]]) for each in data["result"]
        ]

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule, with the health of its last evaluation."""
        groups = self._get("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _get(self, what: str, **parameters: str | float) -> Any:
        answer = self._client.get(f"/api/v1/{what}", params=parameters)
        body = json.loads(answer.content)
        assert body["status"] == "success", f"{parameters.get('query', what)}: {body['error']}"
        return body["data"]

    def _is_ready(self) -> bool:
        assert self._process.running, self._process.log_tail()
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False
