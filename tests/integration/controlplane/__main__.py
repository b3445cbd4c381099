"""`python -m integration.controlplane`: a control plane to try things on, until Ctrl-C."""

from __future__ import annotations

import signal
import sys

from .binaries import BuildFailed
from .cluster import ControlPlane, StartFailed


def main() -> int:
    """Run a control plane in which Deployments become Ready; end it on Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ControlPlane(controllers=True) as plane:
            _say(f"Kubernetes is ready on https://127.0.0.1:{plane.port}, with one fake node, until Ctrl-C.")
            _say(f"kubectl: {plane.kubectl_program}")
            _say(f"logs:    {plane.directory}")
            print(f"export KUBECONFIG={plane.kubeconfig}", flush=True)
            while True:
                signal.pause()
    except KeyboardInterrupt:
        _say("ended")
        return 0
    except (BuildFailed, StartFailed) as exc:
        _say(str(exc))
        return 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
