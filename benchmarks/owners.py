"""`python -m benchmarks.owners`: what it costs to know who sets a Deployment's count, in both wire formats, in one run.

CPU time of an event and traced bytes of a Deployment, with `--owners` and without, and beside Deployments of the same
bytes in which nobody holds the count. No cluster is needed; `tests` has to be on the Python path.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from benchmarks import machine
from benchmarks.deployments import body, place, status
from kdm_adapters.cache.store import Store
from kdm_adapters.kubernetes.wire.messages import Event
from kdm_adapters.kubernetes.wire.readers import Readers
from unit.adapters.kubernetes.wire.wire_formats import JsonFormat, ProtobufFormat, WireFormat

FORMATS: dict[str, WireFormat] = {"JSON": JsonFormat(), "Protocol Buffers": ProtobufFormat()}
SINCE = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
UNHELD = b'"f:replicaz"'
"""What takes the place of `"f:replicas"` where nobody is to hold the count: as many bytes."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.owners", description=__doc__)
    parser.add_argument("--objects", type=int, default=5_000, help="Deployments")
    parser.add_argument("--rounds", type=int, default=7, help="of which the median counts")
    arguments = parser.parse_args()
    print(f"{machine.describe()}; {arguments.objects} Deployments, {arguments.rounds} rounds")
    for name, wire in FORMATS.items():
        for together in (1, 10):
            events = [wire.item("MODIFIED", described(n, together)) for n in range(arguments.objects)]
            unheld = [each.replace(b'"f:replicas"', UNHELD) for each in events]
            size = sum(map(len, events)) / len(events)
            print(f"{name}, {size:.0f} bytes each, {together} changed in the same second:")
            nothing, off, on = (
                traced_bytes(wire, data, owners=owners)
                for data, owners in ((unheld, False), (events, False), (events, True))
            )
            print(f"  bytes each: {off:.0f} without --owners, {on:.0f} with it; {nothing:.0f} without marks")
        times = cpu_us(
            {
                "off": lambda wire=wire, data=events: decode(wire, data, owners=False),  # type: ignore[misc]
                "on": lambda wire=wire, data=events: decode(wire, data, owners=True),  # type: ignore[misc]
            },
            arguments.rounds,
            arguments.objects,
        )
        off, on = times["off"], times["on"]
        print(f"  us an event: {off:.1f} without --owners, {on:.1f} with it: x{on / off:.2f}")


def described(number: int, together: int) -> dict[str, Any]:
    """Describe a Deployment as the API server has it: a chart's, whose count somebody applied.

    Args:
        number: Which one.
        together: How many are changed in the same second.
    """
    namespace, name = place(number)
    item = body(number)
    moment = f"{datetime.fromtimestamp(SINCE + number // together, UTC):%Y-%m-%dT%H:%M:%SZ}"
    applied = {key: value for key, value in item.items() if key in {"metadata", "spec"}}
    metadata = {key: value for key, value in applied["metadata"].items() if key in {"labels", "annotations"}}
    common = {"operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "time": moment}
    item["metadata"] |= {
        "uid": f"{number:08x}-3c1c-4a1e-9d59-0a4f0c9d6b1a",
        "resourceVersion": str(100_000 + number),
        "generation": 1,
        "creationTimestamp": moment,
        "managedFields": [
            {**common, "manager": "deployer", "fieldsV1": fields({"metadata": metadata, "spec": applied["spec"]})},
            {
                **common,
                "manager": "kube-controller-manager",
                "subresource": "status",
                "fieldsV1": fields({"status": status(number)}),
            },
        ],
    }
    item["status"] = status(number)
    assert (item["metadata"]["namespace"], item["metadata"]["name"]) == (namespace, name)
    return item


def fields(value: Any) -> dict[str, Any]:
    """Return the `fieldsV1` of a value: the names of its fields, and the keys of its lists' items."""
    if isinstance(value, dict):
        return {f"f:{key}": fields(each) for key, each in sorted(value.items())}
    if isinstance(value, list):
        return {f'k:{{"name":"{each.get("name", each.get("type"))}"}}': {".": {}, **fields(each)} for each in value}
    return {}


def decode(wire: WireFormat, events: Iterable[bytes], *, owners: bool) -> Store:
    """Read events into a store, as the watch does."""
    store = Store()
    reader = Readers(store.get, owners=owners).events(wire.media_type)
    for event in events:
        for message in reader.feed(event):
            assert isinstance(message, Event), message
            store.put(message.deployment)
    return store


def traced_bytes(wire: WireFormat, events: list[bytes], *, owners: bool) -> float:
    """Return how many bytes a Deployment keeps, by `tracemalloc`."""
    decode(wire, events[:100], owners=owners)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    store = decode(wire, events, owners=owners)
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(store) == len(events)
    return kept / len(events)


def cpu_us(works: dict[str, Callable[[], object]], rounds: int, events: int) -> dict[str, float]:
    """Return the median of the CPU time of an event, in microseconds. The works take turns."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            begun = time.process_time()
            work()
            taken[name].append((time.process_time() - begun) / events * 1e6)
    return {name: statistics.median(each) for name, each in taken.items()}


if __name__ == "__main__":
    main()
