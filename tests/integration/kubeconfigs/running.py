"""Runs a case through kubectl and through kdm, each with servers and a home directory of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

from attrs import define, field

from .case import Case, Outcome
from .recording import recording
from .worker import LIMIT_S

__all__ = ["Both", "Oracle", "Worker"]

AT_ONCE: Final = 6
"""How many cases are run at once. kubectl tries again for ten seconds where a server breaks off."""

_TESTS: Final = Path(__file__).parents[2]


class Both(NamedTuple):
    """What came of a case."""

    kubectl: Outcome
    kdm: Outcome

    @property
    def alike(self) -> bool:
        """Whether the same was sent. To refuse without sending anything is the same, whatever the reason."""
        refused = [not each.succeeded and not each.sent for each in self]
        return all(refused) or self.kubectl == self.kdm


class Worker:
    """The process that forks kdm. One job at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._free = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator[Worker]:
        """Start it, and end it with the block."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "integration.kubeconfigs.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(_TESTS)},
        )
        assert process.stdin is not None
        try:
            yield cls(process)
        finally:
            process.stdin.close()
            await process.wait()

    async def run(self, call: str, environ: Mapping[str, str], cwd: Path, log: Path, *arguments: Any) -> int:
        """Call a coroutine function in a child.

        Args:
            call: ``module:function``.
            environ: The child's environment.
            cwd: Where it works.
            log: Where its output goes.
            arguments: Of the function.

        Returns:
            0 if it returned, 1 if it raised an error of kdm, 2 for any other, and less for a signal.
        """
        job = {"call": call, "environ": environ, "cwd": str(cwd), "log": str(log), "arguments": arguments}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._free:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            return int(await self._process.stdout.readline())


@define(eq=False)
class Oracle:
    """Runs cases.

    Args:
        kubectl: The program.
        worker: The process that forks kdm.
        pki: See `pki`.
        directory: Where home directories are made.
    """

    kubectl: Path
    worker: Worker
    pki: Path
    directory: Path
    _asked: dict[str, asyncio.Task[Both]] = field(factory=dict, init=False)
    _turns: asyncio.Semaphore = field(factory=partial(asyncio.Semaphore, AT_ONCE), init=False)
    _numbers: count[int] = field(factory=count, init=False)

    def start(self, cases: Iterable[Case]) -> None:
        """Have cases run, several at once, and each once only, however often it is asked for."""
        for case in cases:
            if case.claim not in self._asked:
                self._asked[case.claim] = asyncio.create_task(self.compare(case))

    async def ask(self, case: Case) -> Both:
        """Return what came of a case."""
        self.start([case])
        return await self._asked[case.claim]

    async def compare(self, case: Case) -> Both:
        """Run a case through both at once."""
        async with self._turns:
            return Both(*await asyncio.gather(self._run(case, self._kubectl), self._run(case, self._kdm)))

    async def version(self) -> str:
        """Return kubectl's version."""
        process = await asyncio.create_subprocess_exec(
            self.kubectl, "version", "--client", "--output=json", env={}, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        version: str = json.loads(out)["clientVersion"]["gitVersion"]
        return version

    async def _run(
        self, case: Case, program: Callable[[Mapping[str, str], Path], Awaitable[tuple[int, str]]]
    ) -> Outcome:
        home = self.directory / f"{next(self._numbers)}"
        async with recording(case.servers, self.pki) as found:
            environ = case.write(home, self.pki, found.ports)
            code, message = await program(environ, home)
        return Outcome.of(found, self.pki, home, code, message)

    async def _kubectl(self, environ: Mapping[str, str], home: Path) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            self.kubectl,
            "version",
            "--output=json",
            env=environ,
            cwd=home / "cwd",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(LIMIT_S):
            out, _ = await process.communicate()
        # Without a cluster it tells its own version and is content.
        return int(b'"serverVersion"' not in out), out.decode(errors="replace")

    async def _kdm(self, environ: Mapping[str, str], home: Path) -> tuple[int, str]:
        log = home / "log"
        code = await self.worker.run("integration.kubeconfigs.worker:probe", environ, home / "cwd", log)
        message = log.read_text(errors="replace")
        assert code in {0, 1}, f"kdm ended with {code}:\n{message}"
        return code, message
