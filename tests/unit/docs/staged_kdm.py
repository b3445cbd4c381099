"""``kdm serve --dev`` that obeys its standard input: each line puts it on fresh demo data, in some trouble or none.

A line is the name of one of ``Faults``, ``defect``, or ``none``; it is echoed when done. One process serves all the
examples, where each would otherwise need one of its own.
"""

import asyncio
import sys
from types import TracebackType
from typing import Self

from dependency_injector import providers

from kdm_adapters.memory import MemoryDeploymentRepository, MemoryParkingLot, demo
from kdm_cli import main as cli
from kdm_cli.container import Container
from kdm_core import ANY, ChangeTracker, Deployment, DeploymentRef, Expect

PARKING = MemoryParkingLot()
TRACKER = ChangeTracker()


class Staged(MemoryDeploymentRepository):
    """The demo data's repository, which gets into the trouble it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self._trouble = "none"
        demo.seed(self.cluster)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._obey)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        await super().__aexit__(exc_type, exc, tb)

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        if self._trouble == "defect":
            raise ZeroDivisionError
        return await super().set_replicas(ref, replicas, expect=expect, dry_run=dry_run)

    def _obey(self) -> None:
        told = sys.stdin.readline().strip()
        if not told:
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            return
        if self._trouble not in {"none", "defect"}:
            setattr(self.faults, self._trouble, False)
        for ref in list(self.cluster.deployments):
            self.cluster.delete(ref)
        for ref in list(PARKING.records.records):
            PARKING.records.put(ref, None)
        TRACKER.__dict__.update(vars(ChangeTracker()) | {"on_own": TRACKER.on_own})  # with nothing behind it
        demo.seed(self.cluster)
        if told not in {"none", "defect"}:
            setattr(self.faults, told, True)
        self._trouble = told
        print(f"staged: {told}", flush=True)


if __name__ == "__main__":
    Container.repository.override(providers.Object(Staged()))
    Container.parking.override(providers.Object(PARKING))
    Container.tracker.override(providers.Object(TRACKER))
    sys.exit(cli.main(["serve", "--dev", "--port", "0", "--ops-port", "0"]))
