"""A process that has imported kdm and forks for each job: a clean environment at a tenth of the price of a start.

Reads jobs, a line of JSON each, and answers each with the exit code of the child that did it.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import sys
import traceback
from typing import Any, Final, NoReturn

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_core import ClusterTimeout, KdmError

from . import served

__all__ = ["LIMIT_S", "probe", "served"]

LIMIT_S: Final = 60
_TRIES: Final = 10


async def probe() -> None:
    """Ask the cluster whether it is ready, with nothing but the environment to find it by."""
    async with KubernetesDeploymentRepository(ClusterConfig()) as repository:
        for left in reversed(range(_TRIES)):
            try:
                await repository.probe()
            except ClusterTimeout:  # the machine is busy
                if not left:
                    raise
            else:
                return


def _child(job: dict[str, Any]) -> NoReturn:
    code = 2
    try:
        signal.alarm(LIMIT_S)
        os.environ.clear()
        os.environ.update(job["environ"])
        os.chdir(job["cwd"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        module, _, function = job["call"].partition(":")
        asyncio.run(getattr(importlib.import_module(module), function)(*job.get("arguments", ())))
        code = 0
    except KdmError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        code = 1
    except BaseException:  # noqa: BLE001 - it is the end of this process in any case
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Do what comes in until there is no more."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _child(json.loads(line))
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
