"""The script of `helm test` against servers of all kinds: it passes where a client without a certificate is refused."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kdm_cli.pki.authority import Authority
from kdm_cli.pki.files import write_files

from .helm import CHART

SCRIPT = CHART / "files" / "smoke_test.py"
HEALTHY = b'{"status": "healthy"}'

Answer = Callable[[ssl.SSLSocket], None]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as the test's Pod has it, and the server's files."""
    directory = tmp_path_factory.mktemp("smoke")
    authority = Authority.create("smoke test CA", days=2)
    client = authority.issue("client", days=1)
    server = authority.issue("kdm", sans=["localhost", "127.0.0.1"], purposes=["server"], days=1)
    files = {
        "ca.crt": authority.pair.certificate_pem(),
        "tls.crt": client.certificate_pem(),
        "tls.key": client.key_pem(),
        "server.pem": server.certificate_pem(),
        "server-key.pem": server.key_pem(),
    }
    write_files(directory, files, force=True)
    other = Authority.create("another CA", days=2)
    write_files(directory / "other", {**files, "ca.crt": other.pair.certificate_pem()}, force=True)
    return directory


def run(url: str, directory: Path) -> tuple[int, str, str]:
    """Run it as the Pod does, only that it does not wait: how it ended, and what it said."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.read_text(), url, str(directory), "0"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@contextmanager
def serving(
    pki: Path,
    verify: ssl.VerifyMode,
    without: Answer,
    with_one: Answer | None = None,
    listener: socket.socket | None = None,
) -> Iterator[str]:
    """Serve on loopback: one answer for clients without a certificate, one for those with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "server.pem", pki / "server-key.pem")
    context.load_verify_locations(pki / "ca.crt")
    context.verify_mode = verify
    listener = listener or socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            plain.settimeout(10)
            with context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as connection:
                try:
                    connection.do_handshake()
                    answer = with_one if with_one and connection.getpeercert() else without
                    answer(connection)
                except ssl.SSLError:
                    _drain(connection)
                except OSError:
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://localhost:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def says(status: str, body: bytes = HEALTHY) -> Answer:
    def answer(connection: ssl.SSLSocket) -> None:
        connection.recv(65536)
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)

    return answer


def resets(connection: ssl.SSLSocket) -> None:
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hangs_up(connection: ssl.SSLSocket) -> None:
    connection.recv(65536)
    connection.unwrap()


def test_a_server_that_wants_a_certificate_passes(pki: Path) -> None:
    """It sends an alert, as kdm does."""
    with serving(pki, ssl.CERT_REQUIRED, says("200 OK")) as url:
        code, out, error = run(url, pki)
    assert (code, error) == (0, "")
    assert "without a client certificate: refused, as it must be" in out
    assert "ALERT" in out.upper()
    assert out.count(": 200 ") == 2


def test_a_server_that_resets_passes(pki: Path) -> None:
    with serving(pki, ssl.CERT_OPTIONAL, resets, says("200 OK")) as url:
        code, out, _ = run(url, pki)
    assert code == 0, out


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "401 Unauthorized", "503 Service Unavailable"])
def test_any_answer_to_a_client_without_a_certificate_fails(pki: Path, status: str) -> None:
    """Something that ends TLS stands before kdm, whatever it says."""
    with serving(pki, ssl.CERT_OPTIONAL, says(status)) as url:
        code, out, error = run(url, pki)
    assert (code, error) == (1, "")
    assert f"answered a client without a certificate, with {status[:3]}" in out


def test_a_server_that_only_hangs_up_fails(pki: Path) -> None:
    """A proxy whose backend is gone does so too."""
    with serving(pki, ssl.CERT_OPTIONAL, hangs_up, says("200 OK")) as url:
        code, out, error = run(url, pki)
    assert (code, error) == (1, "")
    assert out.startswith("failed: ")


def test_a_name_that_does_not_resolve_fails(pki: Path) -> None:
    code, out, error = run("https://kdm.invalid:443", pki)
    assert (code, error) == (1, "")
    assert out.startswith("failed: ")
    assert out.count("\n") == 1


def test_a_port_where_nobody_listens_fails(pki: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    code, out, error = run(f"https://127.0.0.1:{port}", pki)
    assert (code, error) == (1, "")
    assert "refused, as it must be" not in out


def test_it_waits_until_the_api_can_be_reached(pki: Path) -> None:
    """As after an installation, when the Service has no endpoint yet: it says so, and goes on once it has."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # nobody listens yet, and nobody else gets the port
        port = reserved.getsockname()[1]
        command = [sys.executable, "-c", SCRIPT.read_text(), f"https://localhost:{port}", str(pki), "60"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as script:
            assert script.stdout is not None
            assert script.stdout.readline().startswith(f"waiting until localhost:{port} can be reached: ")
            reserved.listen()
            with serving(pki, ssl.CERT_REQUIRED, says("200 OK"), listener=reserved):
                told = script.stdout.read()
                code = script.wait(60)
    assert code == 0, told
    assert "without a client certificate: refused, as it must be" in told


def test_a_server_of_another_ca_fails(pki: Path) -> None:
    """It is this side that refuses then: no word about the server's own refusal."""
    with serving(pki, ssl.CERT_REQUIRED, says("200 OK")) as url:
        code, out, error = run(url, pki / "other")
    assert (code, error) == (1, "")
    assert "CERTIFICATE_VERIFY_FAILED" in out


def test_a_server_without_tls_fails(pki: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_plainly, args=(listener,))
        thread.start()
        code, out, error = run(f"https://127.0.0.1:{listener.getsockname()[1]}", pki)
        thread.join()
    assert (code, error) == (1, "")
    assert out.startswith("failed: ")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("503 Service Unavailable", HEALTHY),
        ("200 OK", b'{"status": "unhealthy"}'),
        ("200 OK", b"[]"),
        ("200 OK", b"<html>"),
    ],
)
def test_an_api_that_is_not_healthy_fails(pki: Path, status: str, body: bytes) -> None:
    with serving(pki, ssl.CERT_REQUIRED, says(status, body)) as url:
        code, out, error = run(url, pki)
    assert (code, error) == (1, "")
    assert "failed: /health must answer 200 and healthy" in out


def test_a_missing_file_of_the_client_fails(tmp_path: Path) -> None:
    code, out, error = run("https://localhost:1", tmp_path)
    assert (code, error) == (1, "")
    assert out.startswith("failed: ")


def _drain(connection: ssl.SSLSocket) -> None:
    """Read what the client sent already: else closing resets the connection, and the alert may be lost."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_WR)
        while socket.socket.recv(connection, 65536):
            pass


def _answer_plainly(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
