"""What ``/metrics`` tells, from the registry that it is told from."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from prometheus_client.metrics_core import Metric

from docs.generate.code import prose
from kdm_cli.container import Container
from kdm_cli.settings import Settings
from kdm_http.api.answered import Answered


async def families() -> list[Metric]:
    """Return every family of metrics that a kdm tells, in the order it tells them."""
    container = Container(settings=Settings(dev=True, audit_file="-"))
    instrument, traffic = container.instrument(), container.traffic()
    container.metrics()  # has the instrument observe whatever is observed
    container.api()
    traffic.requests.count(Answered("GET", "/deployments", 200, 0.0, "alice"))
    traffic.reloaded({"server": datetime.max.replace(tzinfo=UTC)})
    async with container.repository():  # which has a version only then
        return list(instrument.registry.collect())


def describe_metrics(prefixes: str) -> str:
    """Return a table of the metrics whose names begin with one of these words."""
    rows = ["| metric | type | labels | what |", "|---|---|---|---|"]
    for family in sorted(asyncio.run(families()), key=lambda family: family.name):
        if not family.name.startswith(tuple(prefixes.split())):
            continue
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = ", ".join(f"`{label}`" for label in _labels(family))
        rows.append(f"| `{family.name}{suffix}` | {family.type} | {labels} | {prose(family.documentation)} |")
    return "\n".join(rows)


def _labels(family: Metric) -> tuple[str, ...]:
    declared: tuple[str, ...] = getattr(family, "_labelnames", ())
    told = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
    return declared or tuple(told)
