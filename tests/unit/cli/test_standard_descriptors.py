"""Descriptors 0 to 2 that are closed when kdm starts, as after `kdm serve <&- >&- 2>&-`."""

from __future__ import annotations

import itertools
import shlex
import subprocess
import sys
from typing import Final

import pytest

CLOSED: Final = [each for count in range(1, 4) for each in itertools.combinations(range(3), count)]
REPORT: Final = """
import os, sys
sys.argv = ["kdm", "--version"]
from kdm_cli import __main__
try:
    __main__.main()
except SystemExit as end:
    assert end.code == 0, end.code
null = os.stat(os.devnull).st_rdev
report = [str(os.fstat(fd).st_rdev == null) for fd in range(3)]
print("something", file=sys.stderr)
print("something", flush=True)
sys.stdin.read()
fresh = os.open(os.devnull, os.O_RDONLY)
os.write(int(os.environ["REPORT_FD"]), " ".join([*report, str(fresh > 2)]).encode())
"""


@pytest.mark.parametrize("closed", CLOSED, ids=lambda each: "".join(map(str, each)))
def test_a_closed_standard_descriptor_is_the_null_device(closed: tuple[int, ...]) -> None:
    """Nothing that is opened later gets its number, and reading and printing there harm nothing."""
    redirections = " ".join(["<&-", ">&-", "2>&-"][fd] for fd in closed)
    command = f"REPORT_FD=9 exec {shlex.quote(sys.executable)} -c {shlex.quote(REPORT)} 9>&1 {redirections}"
    done = subprocess.run(
        ["/bin/sh", "-c", command], stdin=subprocess.PIPE, capture_output=True, text=True, timeout=60, check=False
    )
    expected = " ".join([*(str(fd in closed) for fd in range(3)), "True"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(expected), (done.stdout, done.stderr)
