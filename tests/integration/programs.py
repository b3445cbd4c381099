"""`python -m integration.programs`: build all Go programs that the tests use, in the order in which they ask for them.

`make test` runs it beside the checks that need none of them. A test that asks for a program meanwhile waits for it.
"""

from __future__ import annotations

import signal
import sys

from .controlplane import binaries
from .kind import making
from .operate import prometheus


def main() -> int:
    """Build them; when told to stop, leave nothing half-made."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        prometheus.programs()
        binaries.find(*binaries.CONTROL_PLANE, "helm", "kube-score")
        making.prepare()
    except binaries.BuildFailed as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
