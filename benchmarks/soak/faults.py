"""What goes wrong: each fault happens, lasts a while where it can, and is over."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

from integration.controlplane.cluster import ControlPlane
from integration.proxy import Proxy

__all__ = ["Faults"]


class Faults:
    """Faults of the network and of the API server. They block; call them from a thread.

    Args:
        plane: The control plane.
        proxy: What kdm is connected through.
        lasting_s: How long a fault lasts that can last, in seconds.
        dice: For their order.
    """

    def __init__(self, plane: ControlPlane, proxy: Proxy, lasting_s: float, dice: random.Random) -> None:
        self._plane = plane
        self._proxy = proxy
        self._lasting_s = lasting_s
        self._dice = dice
        self._kinds: Mapping[str, Callable[[], object]] = {
            "connections reset": proxy.cut,
            "connections closed": lambda: proxy.cut(reset=False),
            "black hole": lambda: self._for_a_while(proxy.black_hole),
            "cut, then refused": self._cut_and_refuse,
            "stream broken within an event": lambda: self._for_a_while(lambda: proxy.truncate(dice.randrange(9999))),
            "API server killed and restarted": self._restart,
            "etcd compacted, connections reset": self._compact,
            "history expired (410)": plane.expire_history,
            "API server frozen": self._freeze,
        }
        self._left: list[str] = []

    def next(self) -> str:
        """Choose the next kind of fault; every kind comes before one comes again."""
        if not self._left:
            self._left = self._dice.sample(sorted(self._kinds), len(self._kinds))
        return self._left.pop()

    def happen(self, kind: str) -> None:
        """Let it happen, and return when it is over."""
        self._kinds[kind]()

    def _for_a_while(self, begin: Callable[[], object]) -> None:
        begin()
        time.sleep(self._lasting_s)
        self._proxy.heal()

    def _cut_and_refuse(self) -> None:
        self._proxy.refuse()
        self._for_a_while(self._proxy.cut)

    def _restart(self) -> None:
        self._plane.apiserver.kill()
        self._plane.apiserver.start()
        self._plane.wait_ready()

    def _compact(self) -> None:
        self._plane.compact()
        self._proxy.cut()

    def _freeze(self) -> None:
        self._plane.apiserver.freeze()
        time.sleep(self._lasting_s)
        self._plane.apiserver.thaw()
