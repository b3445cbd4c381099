"""An OCI runtime: runc, asked for no capability that this machine does not have.

Docker gives a privileged container all capabilities there are, and runc fails on one that it may not give. So that one
is taken out of what Docker wrote; where the machine has it, nothing is changed. Run as `runtime.py RUNC ARGUMENTS...`.
"""

from __future__ import annotations

import json
import os
import sys

SYS_RESOURCE = ("CAP_SYS_RESOURCE", 24)  # its number is in linux/capability.h


def lacks_sys_resource() -> bool:
    """Whether this machine lacks the capability that containers on it lack most often: to raise its own limits."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - pathlib would double the time to start
        bounding = next(line.split()[1] for line in status if line.startswith("CapBnd:"))
    return not int(bounding, 16) >> SYS_RESOURCE[1] & 1


def main(runc: str, arguments: list[str]) -> None:
    """Become runc."""
    if (path := _document(arguments)) and lacks_sys_resource():
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            document = json.load(file)
        process = document.get("process", document)
        for names in (process.get("capabilities") or {}).values():
            names[:] = [name for name in names or () if name != SYS_RESOURCE[0]]
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump(document, file)
    os.execv(runc, [runc, *arguments])  # noqa: S606 - a shell would not help


def _document(arguments: list[str]) -> str | None:
    """Find the file that says what will run, of the two commands that have one."""
    if "create" in arguments:
        return os.path.join(_value(arguments, "--bundle"), "config.json")  # noqa: PTH118
    if "exec" in arguments:
        return _value(arguments, "--process")
    return None


def _value(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
