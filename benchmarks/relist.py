"""`python -m benchmarks.relist`: how long kdm's event loop serves nobody while everything is read again.

The API server's work is held away: its answer is recorded once, multiplied, and sent by a process of its own. What is
measured is processor time, so a machine that does other things beside it changes little: the time between two turns of
the loop is what a request waits for on top of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import uvloop

from benchmarks.http.alone import administrator
from benchmarks.http.cluster import seed
from integration.controlplane.cluster import ControlPlane
from integration.edge.pki import Pki
from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_adapters.kubernetes.wire.readers import WATCH_ACCEPT
from kdm_cli import garbage_collection
from kdm_core.ports import WatchInstrument

RECORDED = 200
READ_AGAIN_S = 120.0
NOTHING_MS = 0.05
"""A turn of the loop that took less CPU did nothing to speak of."""


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relist", description=__doc__)
    parser.add_argument("--objects", type=int, default=50_000, help="Deployments")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=Path, metavar="DIRECTORY", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(_serve(arguments.serve, arguments.objects))
        return
    with tempfile.TemporaryDirectory(prefix="kdm-bench-") as name:
        directory = Path(name)
        _record(directory)
        Pki(directory / "pki")
        command = [sys.executable, "-m", "benchmarks.relist", f"--serve={directory}", f"--objects={arguments.objects}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            server.stdout.readline()
            try:
                uvloop.run(_measure(directory / "kubeconfig", server, arguments.rounds))
            finally:
                server.kill()


# The API server's part


def _record(directory: Path) -> None:
    """Keep what a real API server answers to a watch-list."""
    with ControlPlane() as plane:
        seed(plane, RECORDED, print)
        client = administrator(plane.kubeconfig, directory)
        context = ssl.create_default_context(cafile=str(client.ca))
        context.load_cert_chain(client.certificate, client.key)
        connection = http.client.HTTPSConnection("127.0.0.1", plane.port, context=context)
        query = "watch=1&sendInitialEvents=1&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=1&timeoutSeconds=2"
        connection.request("GET", f"/apis/apps/v1/deployments?{query}", headers={"Accept": WATCH_ACCEPT})
        (directory / "recorded").write_bytes(connection.getresponse().read())


def _multiplied(recorded: bytes, objects: int) -> tuple[list[bytes], bytes]:
    """Return the chunks of so many ADDED events, each of another Deployment, and that of the bookmark after them."""
    frames, at = [], 0
    while at < len(recorded):
        end = at + 4 + int.from_bytes(recorded[at : at + 4], "big")
        frames.append(recorded[at:end])
        at = end
    *added, bookmark = frames
    chunks = []
    for number in range(objects):
        frame = added[number % len(added)]
        name, uid = re.search(rb"[a-z]+-(\d{6})", frame), re.search(rb"\*\$([0-9a-f]{8})", frame)
        assert name is not None
        assert uid is not None
        other = frame.replace(name[1], b"%06d" % number).replace(uid[1], b"%08x" % number)
        chunks.append(_chunk(other))
    return chunks, _chunk(bookmark)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _serve(directory: Path, objects: int) -> None:
    """Answer every watch-list with all Deployments, and every other watch with 410. SIGUSR1 ends a watch."""
    chunks, bookmark = _multiplied((directory / "recorded").read_bytes(), objects)
    batches = [b"".join(chunks[first : first + 8]) for first in range(0, len(chunks), 8)]
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, end.set)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                asked = await reader.readuntil(b"\r\n\r\n")
                if b"sendInitialEvents" in asked:
                    end.clear()
                    kind = b"application/vnd.kubernetes.protobuf;stream=watch"
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % kind)
                    for batch in [*batches, bookmark]:
                        writer.write(batch)
                        await writer.drain()
                    await end.wait()
                    writer.close()
                    return
                status, reason = (b"410 Gone", "Expired") if b"watch=" in asked else (b"404 Not Found", "NotFound")
                status_of = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason}
                body = json.dumps(status_of | {"message": reason, "code": int(status[:3])}).encode()
                head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                writer.write(head % (status, len(body)) + body)
                await writer.drain()

    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(directory / "pki" / "server.pem", directory / "pki" / "server-key.pem")
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=trust)
    cluster = {
        "server": f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        "certificate-authority": str(directory / "pki" / "ca.pem"),
    }
    kubeconfig = {
        "current-context": "recorded",
        "clusters": [{"name": "recorded", "cluster": cluster}],
        "contexts": [{"name": "recorded", "context": {"cluster": "recorded", "user": "anybody"}}],
        "users": [{"name": "anybody", "user": {"token": "none"}}],
    }
    (directory / "kubeconfig").write_text(json.dumps(kubeconfig))
    print("ready", flush=True)
    await server.serve_forever()


# kdm's part


class _Lists(WatchInstrument):
    """Notes that everything has been read."""

    def __init__(self) -> None:
        self.read = asyncio.Event()

    def listed(self, *_: object) -> None:
        self.read.set()


async def _measure(kubeconfig: Path, server: subprocess.Popen[bytes], rounds: int) -> None:
    lists = _Lists()
    repository = KubernetesDeploymentRepository(ClusterConfig(kubeconfig=kubeconfig), instrument=lists)
    async with repository, garbage_collection.frozen_once_synced(repository):
        await repository.wait_synced(READ_AGAIN_S)
        await asyncio.sleep(1)
        for _ in range(rounds):
            lists.read.clear()
            server.send_signal(signal.SIGUSR1)
            turns = await _turns(lists.read)
            print(_described([each for each in turns if each >= NOTHING_MS]), flush=True)


async def _turns(over: asyncio.Event) -> list[float]:
    """Return the processor time of this thread between any two turns of the loop until then, in milliseconds."""
    loop = asyncio.get_running_loop()
    found: list[float] = []
    before_ns = time.thread_time_ns()

    def turn() -> None:
        nonlocal before_ns
        found.append((time.thread_time_ns() - before_ns) / 1e6)
        before_ns = time.thread_time_ns()
        if not over.is_set():
            loop.call_soon(turn)

    turn()
    async with asyncio.timeout(READ_AGAIN_S):
        await over.wait()
    await asyncio.sleep(0)
    return found


def _described(turns: list[float]) -> str:
    turns = sorted(turns)
    whole, passed = sum(turns), 0.0
    parts = {0.5: "half", 0.9: "a tenth", 0.99: "a hundredth"}
    said: list[str] = []
    for each in turns:
        passed += each
        reached = [part for part in parts if passed >= part * whole]
        said += [f"{parts.pop(part)} in turns of more than {each:.2f} ms" for part in reached]
    longest = ", ".join(f"{each:.1f}" for each in turns[-3:])
    return f"{whole / 1e3:.2f} s of CPU in {len(turns)} turns: {', '.join(said)}; the longest: {longest} ms"


if __name__ == "__main__":
    main()
