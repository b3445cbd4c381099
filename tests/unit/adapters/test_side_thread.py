"""A process that stood still as a whole does not take that for a fault of the disk or the reader."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Final

WAIT_S: Final = 1.0

PROGRAM: Final = f"""
import time
from kdm_adapters.side_thread import SideThread

def job():
    print("begun", flush=True)
    end_s = time.process_time() + {WAIT_S / 10}
    while time.process_time() < end_s:
        pass
    return "done"

thread = SideThread("kdm-test")
thread.call(lambda: None, {WAIT_S})
print(thread.call(job, {WAIT_S}))
"""


def test_a_call_outlives_a_process_that_is_stopped_for_longer_than_it_waits() -> None:
    """As by a container's CPU limit, or by a machine that is moved."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(WAIT_S * 1.2)  # what passes meanwhile is what is tried
        process.send_signal(signal.SIGCONT)
        assert process.stdout.read() == "done\n"
    assert process.returncode == 0
