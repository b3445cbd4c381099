"""Searches each target for a counterexample, led by coverage (atheris, which is libFuzzer), from the corpus here.

    python -m fuzz.search                     a minute for each target, two at a time
    python -m fuzz.search --seconds 600 pem   ten minutes for one
    python -m fuzz.search --replay pem FILE   one input again
    python -m fuzz.search --minimize pem      keep what the corpus needs for its coverage

A counterexample ends the search with its bytes and what it broke. Put it into the corpus: the unit tests replay that.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parent / "corpus"
SECONDS: Final = 60
MAX_BYTES: Final = 4096
RSS_LIMIT_MB: Final = 1024
INPUT_LIMIT_S: Final = 10
"""An input that takes longer than this, in seconds, is a counterexample too."""

# What is watched for coverage. Not msgspec and cryptography: their cores are not Python.
INSTRUMENTED: Final = ("kdm_core", "kdm_adapters", "kdm_http", "kdm_cli", "tomllib")


def main() -> int:
    """Search, replay or minimize, as the command line says. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="which; all by default")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each target")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="try one input on one target")
    parser.add_argument("--minimize", action="store_true", help="rewrite the corpus")
    parser.add_argument("--worker", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker is not None:
        _work(chosen.targets[0], chosen.worker)
    names = chosen.targets or sorted(each.name for each in CORPUS.iterdir())
    if chosen.replay:
        from fuzz.targets import TARGETS  # noqa: PLC0415 - workers import it instrumented

        TARGETS[names[0]](chosen.replay.read_bytes())
        return 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        run = _minimized if chosen.minimize else _searched
        return int(not all(pool.map(run, names, [chosen.seconds] * len(names))))


def _work(name: str, arguments: Sequence[str]) -> None:
    """Search in this process, which libFuzzer ends."""
    import atheris  # noqa: PLC0415 - of the group fuzz

    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        from fuzz.targets import TARGETS  # noqa: PLC0415
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()


def _searched(name: str, seconds: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="kdm-fuzz-") as directory:
        found = Path(directory, "found")
        found.mkdir()
        ran = _fuzzer(
            name, f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-rss_limit_mb={RSS_LIMIT_MB}",
            f"-timeout={INPUT_LIMIT_S}", f"-artifact_prefix={directory}/", "-print_final_stats=1",
            str(found), str(CORPUS / name),
        )  # fmt: skip
        if ran.returncode == 0:
            runs = re.findall(r"stat::number_of_executed_units: ([0-9]+)", ran.stderr)
            coverage = re.findall(r"cov: ([0-9]+)", ran.stderr)
            print(f"{name}: {runs[-1]} inputs in {seconds} s, {coverage[-1]} branches reached, no counterexample")
            return True
        print(f"{name}: {ran.stdout[-3000:]}\n{ran.stderr[-3000:]}")
        for each in (path for path in Path(directory).iterdir() if path.is_file()):
            print(f"{name}: base64 of the counterexample {each.name}: {base64.b64encode(each.read_bytes()).decode()}")
        return False


def _minimized(name: str, _: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="kdm-fuzz-") as directory:
        before, kept = CORPUS / name, Path(directory, name)
        kept.mkdir()
        ran = _fuzzer(name, "-merge=1", f"-max_len={MAX_BYTES}", str(kept), str(before))
        if ran.returncode == 0:
            shutil.rmtree(before)
            shutil.copytree(kept, before)
        print(f"{name}: {sum(1 for _ in before.iterdir())} inputs kept")
        return ran.returncode == 0


def _fuzzer(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fuzz.search", name, "--worker", *arguments]
    return subprocess.run(command, cwd=CORPUS.parents[1], capture_output=True, text=True, errors="replace", check=False)


if __name__ == "__main__":
    sys.exit(main())
