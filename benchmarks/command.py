"""`python -m benchmarks.command`: what a start of the command costs, in processor time, beside Python and kubectl.

`kdm get NAME` asks a real kdm over mutual TLS; kubectl, where there is one, says its version. The commands take
turns, and each figure is the user and system time of the whole process. A ratio to `python -c pass` holds anywhere.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from integration.kdm_process import CERTS, KdmProcess

FILES = {"ca": "dev-ca.pem", "cert": "dev-admin.pem", "key": "dev-admin-key.pem"}


def processor_ms(command: Sequence[str]) -> float:
    """Run a command, and return the processor time that it took, in milliseconds."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=CERTS.parent)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {process.returncode}")
    return 1000 * (usage.ru_utime + usage.ru_stime)


def main() -> int:
    """Measure, print, and judge where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="of each command (default: %(default)s)")
    parser.add_argument("--at-most", type=float, metavar="MS", help="fail where `kdm get NAME` takes more")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, KdmProcess({}, Path(directory) / "kdm.log") as kdm:
        flags = [word for name, file in FILES.items() for word in (f"--{name}", str(CERTS / file))]
        get = [sys.executable, "-m", "kdm_cli", "get", "nginx-deployment", "--server", kdm.url, *flags]
        commands = {"python -c pass": [sys.executable, "-c", "pass"], "kdm get NAME": get}
        if kubectl := shutil.which("kubectl"):
            commands["kubectl version --client"] = [kubectl, "version", "--client"]
        took: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.runs):
            for name, command in commands.items():
                took[name].append(processor_ms(command))
    python = statistics.median(took["python -c pass"])
    for name, values in took.items():
        middle = statistics.median(values)
        print(f"{name:<26} {middle:6.0f} ms  {middle / python:5.1f} x python  (least {min(values):.0f} ms)")
    limit = arguments.at_most
    return int(limit is not None and statistics.median(took["kdm get NAME"]) > limit)


if __name__ == "__main__":
    sys.exit(main())
