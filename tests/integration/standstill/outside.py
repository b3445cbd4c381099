"""What stands outside kdm and may stand still: readers of its output, disks and file systems. And kdm among them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self
from urllib.parse import urlsplit

import httpx

from fuzz.wire import exchange
from integration.kdm_process import CERTS, client_context, plain_get, wait_until
from integration.unavailable import unavailable

GRACE_S: Final = 2.0
"""kdm's ``limit_grace_s`` in these tests, in seconds."""

AS_ROOT: Final[Sequence[str]] = () if os.geteuid() == 0 else ("sudo", "-n")
"""In front of a command that needs root."""

UNSHARE: Final[Sequence[str]] = ("unshare",) if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user")
"""In front of a command in namespaces of its own, and the options that say which. It stays this user's process."""

FUSE_SERVER: Final = Path(__file__).with_name("fuse_server.py")


class PipeReader:
    """Reads a pipe, as a log collector does, until it is frozen.

    Attributes:
        writing: The end for a process to write to.
    """

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        self._read = bytearray()
        self._turn = threading.Lock()
        self._going = threading.Event()
        self._going.set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def text(self) -> str:
        """Return what was read so far."""
        return self._read.decode(errors="replace")

    def freeze(self) -> None:
        """Read no more, and let the pipe be full but for the 4096 bytes that POLLOUT promises."""
        with self._turn:
            self._going.clear()
        os.set_blocking(self.writing, False)
        for piece in (b"x" * 4095 + b"\n", b"\n"):
            try:
                while True:
                    os.write(self.writing, piece)
            except BlockingIOError:
                pass
        os.set_blocking(self.writing, True)  # O_NONBLOCK belongs to everybody who has this pipe
        self._read += os.read(self._reading, select.PIPE_BUF)

    def thaw(self) -> None:
        """Read on."""
        self._going.set()

    def close(self) -> None:
        """End the thread."""
        os.close(self.writing)
        self._going.set()
        self._thread.join(30)
        os.close(self._reading)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        while True:
            self._going.wait()
            if not poll.poll(20):
                continue
            with self._turn:
                if self._going.is_set():
                    piece = os.read(self._reading, 65536)
                    if not piece:
                        return
                    self._read += piece


class Kdm:
    """`kdm serve --dev` whose two outputs are two pipes.

    Args:
        settings: ``KDM_*`` variables without their prefix.
        wrap: Put before the command, such as a change of the mount namespace.
    """

    def __init__(self, settings: Mapping[str, str], wrap: Sequence[str] = ()) -> None:
        self.stdout, self.stderr = PipeReader(), PipeReader()
        self._settings = {
            "HOST": "127.0.0.1", "PORT": "0", "OPS_PORT": "0", "LOG_FORMAT": "json",
            "LIMIT_GRACE_S": f"{GRACE_S}", **settings,
        }  # fmt: skip
        self._wrap = wrap
        self.process: subprocess.Popen[bytes]
        self.url = self.ops_url = ""

    def __enter__(self) -> Self:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KDM_")}
        self.process = subprocess.Popen(
            [*self._wrap, sys.executable, "-m", "kdm_cli", "serve", "--dev"],
            env=clean | {f"KDM_{name}": value for name, value in self._settings.items()},
            cwd=CERTS.parent,
            stdin=subprocess.DEVNULL,
            stdout=self.stdout.writing,
            stderr=self.stderr.writing,
        )
        try:
            wait_until(self._learned, 60)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in (self.stdout, self.stderr):
            reader.close()

    def lives(self) -> bool:
        """Whether `/livez` answers."""
        return plain_get(f"{self.ops_url}/livez").status_code == 200

    def metrics(self) -> str:
        """What Prometheus would read."""
        return plain_get(f"{self.ops_url}/metrics").text

    @contextmanager
    def client(self, name: str | None = "dev-admin") -> Iterator[httpx.Client]:
        """A client of the API with a certificate of ``certs/``; None for none."""
        with httpx.Client(base_url=self.url, verify=client_context(name), trust_env=False, timeout=10) as client:
            yield client

    def ask_many(self, count: int) -> None:
        """Send requests that are answered 404 on one connection, one behind the other, and await the answers."""
        request = f"GET /deployments/{'x' * 200} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
        answers = exchange(urlsplit(self.url).port or 0, client_context("dev-admin"), request * count)
        assert answers.count(b"HTTP/1.1 404 ") == count

    def reject_strangers(self, count: int = 20) -> None:
        """Have clients without a certificate turned away, which the trail and the log are told of."""
        for _ in range(count):
            try:
                with self.client(None) as stranger:
                    stranger.get("/deployments")
            except httpx.TransportError:
                continue
            raise AssertionError("a client without a certificate was let in")

    def assert_serves_and_ends(self) -> None:
        """Probes answer, a good client reads, and SIGTERM ends it within its grace and the seconds of its own steps."""
        with self.client() as client:
            for _ in range(50):
                assert self.lives()
                assert client.get("/deployments").status_code == 200
        self.assert_ends()

    def assert_ends(self) -> None:
        """SIGTERM ends it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(GRACE_S + 5) == 0
        except subprocess.TimeoutExpired:
            raise AssertionError("SIGTERM did not end it") from None

    def _learned(self) -> bool:
        assert self.process.poll() is None, f"kdm ended at its start:\n{self.stderr.text()}"
        for word in (self.stderr.text() + self.stdout.text()).split():
            if word.startswith("https://") and not self.url:
                self.url = word.rstrip('/.,"')
            elif word.startswith("http://") and not self.ops_url:
                self.ops_url = word.rstrip('/.,"')
        return bool(self.url and self.ops_url)


def seeing(files: Mapping[str, Path]) -> Sequence[str]:
    """Return what to put before a command so that it sees other files in the place of some of the system's.

    Args:
        files: Paths, and what is there instead.
    """
    mounts = " && ".join(f"mount --bind {source} {path}" for path, source in files.items())
    return [*UNSHARE, "--mount", "/bin/sh", "-c", f'{mounts} && exec "$@"', "sh"]


class SilentNameServer:
    """Takes questions and answers none.

    Attributes:
        address: Where it listens, on port 53: loopback is a whole /8, so that each test process has one of its own.
    """

    def __init__(self) -> None:
        self.address = f"127.83.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
        script = (
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            f"s.bind(('{self.address}', 53)); print('bound', flush=True)\n"
            "while True: print(s.recv(4096), flush=True)"
        )
        self._server = subprocess.Popen([*AS_ROOT, sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert self._server.stdout
        if self._server.stdout.readline() != b"bound\n":
            unavailable("this machine lets nobody be a name server")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._server.terminate()
        self._server.communicate()

    def question(self) -> str:
        """Wait for the next question, and return how Python shows its bytes."""
        assert self._server.stdout
        ready, _, _ = select.select([self._server.stdout], [], [], 60)
        assert ready, "nobody asked"
        return self._server.stdout.readline().decode()


class HangingFileSystem:
    """A mounted file system that can be frozen: whoever touches it then waits.

    Args:
        path: Where to mount it.
        sources: What it holds: the files' names and where their content is.
    """

    def __init__(self, path: Path, sources: Mapping[str, Path] | None = None) -> None:
        self.path = path
        path.mkdir()
        files = [f"{name}={source}" for name, source in (sources or {}).items()]
        self._server = subprocess.Popen(
            [*AS_ROOT, sys.executable, str(FUSE_SERVER), str(path), *files],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._server.stdout
        if self._server.stdout.readline() != b"mounted\n":
            self._server.wait()
            unavailable(f"this machine lets nobody mount a file system: {_rest(self._server.stderr)}")
        # The kernel learns that closing a file needs no answer: a process that ends with one open could not be ended,
        # not even by SIGKILL, and that is no matter of kdm's.
        (path / "closed").write_bytes(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._server.send_signal(signal.SIGCONT)
        subprocess.run([*AS_ROOT, "umount", "--lazy", str(self.path)], check=True)
        self._server.kill()
        self._server.communicate()

    def freeze(self) -> None:
        """Answer nobody any more."""
        self._server.send_signal(signal.SIGSTOP)
        wait_until(lambda: _state(self._server.pid) == "T")

    def thaw(self) -> None:
        """Answer again."""
        self._server.send_signal(signal.SIGCONT)


def hangs_in_a_file_system(pid: int) -> bool:
    """Whether a thread of a process waits in the kernel for a file system that hangs."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            if "fuse" in (task / "stack").read_text() or "fuse" in (task / "wchan").read_text():
                return True
        except OSError:
            continue
    return False


def _rest(stream: IO[bytes] | None) -> str:
    return stream.read().decode(errors="replace").strip() if stream else ""


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A disk (tmpfs) of its own, as large as mount(8) is told.

    Yields:
        Where it is mounted.
    """
    path.mkdir()
    mount = [*AS_ROOT, "mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "tmpfs", str(path)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        unavailable(f"this machine lets nobody mount a small disk: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run([*AS_ROOT, "umount", "--lazy", str(path)], check=True)


def fill_but(path: Path, free_bytes: int) -> Path:
    """Fill a disk up but for so many bytes. Returns the file that does it."""
    filler = path / "filler"
    status = os.statvfs(path)
    filler.write_bytes(b"x" * (status.f_bavail * status.f_frsize - free_bytes))
    return filler
