"""Certificates that change, end or are revoked while the server runs."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from kdm_cli.pki.authority import Authority
from kdm_core import regular_file
from kdm_http.server.serve import TlsConfigurationError
from kdm_http.tls.context import load
from kdm_http.tls.pem import write_blocks
from kdm_http.tls.rejection import Reason
from unit.http.client import Client
from unit.http.credentials import Credentials, Leaf, craft
from unit.http.running import Running
from unit.http.tls import strange

BRIEFLY = timedelta(seconds=4)
"""How long something lasts that a test sees the end of. OpenSSL has no clock but the system's."""


DEADLINE_S = 10.0


async def until_cut(client: Client) -> None:
    """Ask until the server ends the connection."""
    async with asyncio.timeout(10 * BRIEFLY.total_seconds()):
        while True:
            try:
                assert (await client.request()).status == 200
            except (ConnectionError, ssl.SSLError):
                return
            await asyncio.sleep(0.05)


def replaced_by_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def served_serial(client: Client) -> int:
    der = client.tls.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def delta(credentials: Credentials) -> bytes:
    """Return a list of changes, which OpenSSL takes for a whole one."""
    signer = credentials.authority.pair
    extensions = (strange.extension("551d1b", b"\2\1\1", critical=True),)
    der = strange.revocation_list(signer.key, issuer=signer.certificate.subject.public_bytes(), extensions=extensions)
    return write_blocks("X509 CRL", [der])


async def begin(start: Any, **settings: Any) -> Running:
    """Start a server and forget the reload that every start tells."""
    server: Running = await start(**settings)
    await server.reloaded()
    return server


async def test_a_new_server_certificate_drops_no_connection(start: Any, connect: Any, credentials: Credentials) -> None:
    """After a reload, new connections meet the new certificate, and the old one is still served."""
    server = await begin(start)
    old = await connect(server)
    assert (await old.request()).status == 200
    successor = credentials.new_server()
    server.replace(server.files.key, successor.key_pem())
    server.replace(server.files.certificate, successor.certificate_pem())
    await server.reloaded()
    new = await connect(server)

    assert (await new.request()).status == 200
    assert served_serial(new) == successor.certificate.serial_number
    assert served_serial(old) == credentials.server.certificate.serial_number
    assert (await old.request()).status == 200


async def test_a_kubernetes_secret_swap_is_noticed(
    start: Any, connect: Any, credentials: Credentials, tmp_path: Path
) -> None:
    """A mounted Secret is a chain of symlinks, and an update swaps the one in the middle."""
    server = await begin(start)
    successor = credentials.new_server()
    for name, pair in (("..1", credentials.server), ("..2", successor)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "server.pem").write_bytes(pair.certificate_pem())
        (tmp_path / name / "key.pem").write_bytes(pair.key_pem())
    (tmp_path / "..data").symlink_to("..1")
    for path in (server.files.certificate, server.files.key):
        path.unlink()
        path.symlink_to(Path("..data", path.name))
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    await server.reloaded()
    client = await connect(server)
    await client.handshake()

    assert served_serial(client) == successor.certificate.serial_number


@pytest.mark.parametrize(
    "what", ["garbage", "a foreign key", "missing", "expired", "ahead", "stale CRL", "foreign CRL", "delta CRL"]
)
async def test_bad_files_are_refused_and_the_old_ones_go_on(
    what: str, start: Any, connect: Any, credentials: Credentials
) -> None:
    """A reload that cannot be used is told once, names the file, and changes nothing."""
    server = await begin(start, crl=True)
    path = server.crl if "CRL" in what else server.files.key if "key" in what else server.files.certificate
    if what == "missing":
        path.unlink()
    else:
        stale = credentials.authority.sign_crl(days=1, now=credentials.expired.certificate.not_valid_before_utc)
        bad = {
            "garbage": b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n",
            "a foreign key": credentials.new_server().key_pem(),
            "expired": credentials.expired.chain,
            "ahead": credentials.early.chain,
            "stale CRL": stale.public_bytes(serialization.Encoding.PEM),
            "delta CRL": credentials.crl() + delta(credentials),
            "foreign CRL": credentials.crl(authority=credentials.other_authority),
        }
        server.replace(path, bad[what])

    assert str(path) in await server.reload_refused()
    assert (await (await connect(server)).request()).status == 200
    credentials.write(server.files)
    server.replace(server.crl, credentials.crl())
    await server.reloaded()
    assert server.events.refused_reloads.empty()


@pytest.mark.parametrize("which", ["certificate", "key", "client_ca", "crl"])
async def test_a_fifo_in_place_of_a_certificate_file_is_refused_and_nothing_waits_for_its_writer(
    which: str, start: Any, connect: Any
) -> None:
    """Neither at a reload, where the old files go on, nor at the start."""
    server = await begin(start, crl=True)
    path: Path = getattr(server.files, which)
    replaced_by_a_fifo(path)
    assert await server.reload_refused() == f"cannot read {path}: Not a regular file"
    assert (await (await connect(server)).request()).status == 200
    with pytest.raises(TlsConfigurationError, match="Not a regular file"):
        load(server.files, now=server.clock())


async def test_certificate_files_are_read_while_clients_are_served(
    start: Any, connect: Any, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that does not answer holds up nobody."""
    entered, gate = threading.Event(), threading.Event()
    read = regular_file.read
    server = await begin(start)

    def held_up(*arguments: Any) -> regular_file.Content:
        entered.set()
        assert gate.wait(DEADLINE_S)
        return read(*arguments)

    monkeypatch.setattr(regular_file, "read", held_up)
    try:
        assert await asyncio.to_thread(entered.wait, DEADLINE_S)
        renewed = credentials.new_server()
        server.replace(server.files.key, renewed.key_pem())
        server.replace(server.files.certificate, renewed.certificate_pem())
        client = await connect(server)
        assert (await client.request()).status == 200, "served by the old files meanwhile"
    finally:
        gate.set()
    await server.reloaded()
    client = await connect(server)
    assert (await client.request()).status == 200
    assert served_serial(client) == renewed.certificate.serial_number


async def test_a_revoked_client_is_cut_off(start: Any, connect: Any, credentials: Credentials) -> None:
    """Revocation ends the idle and the busy connections of that client alone, with nothing more served."""
    server = await begin(start, crl=True)
    idle, streaming = await connect(server, identity=credentials.bob), await connect(server, identity=credentials.bob)
    other = await connect(server)
    assert (await idle.request()).status == (await other.request()).status == 200
    await streaming.handshake()
    await streaming.send(b"GET /stream HTTP/1.1\r\nhost: kdm\r\n\r\n")
    await server.entered.wait()
    server.replace(server.crl, credentials.crl(credentials.bob))
    await server.reloaded()

    assert await idle.closed()
    await streaming.closed()
    rejections = [await server.rejection(), await server.rejection()]
    assert {(each.reason, each.user, each.established) for each in rejections} == {(Reason.REVOKED, "bob", True)}
    assert (await other.request()).status == 200


async def test_clients_of_a_ca_that_is_taken_away_are_cut_off(
    start: Any, connect: Any, credentials: Credentials
) -> None:
    server = await begin(start)
    client = await connect(server)
    assert (await client.request()).status == 200
    server.replace(server.files.client_ca, credentials.other_authority.pair.certificate_pem())
    await server.reloaded()

    assert await client.closed()
    assert (await server.rejection()).reason is Reason.UNKNOWN_CA


async def test_what_expires_on_a_live_connection_ends_it(start: Any, connect: Any, credentials: Credentials) -> None:
    """The request after the end of the client's certificate, or of its CA's, gets the end of the connection."""
    server = await begin(start)
    ends = datetime.now(UTC) + BRIEFLY
    authority = Authority.create("brief CA", days=1, now=ends - timedelta(days=1))
    server.replace(server.files.client_ca, credentials.ca_pem() + authority.pair.certificate_pem())
    await server.reloaded()
    own = Leaf.of(credentials.authority.issue("brief", days=1, now=ends - timedelta(days=1)))
    of_ca = craft(authority, names=[(NameOID.COMMON_NAME, "of a brief CA")])
    clients = [await connect(server, identity=leaf) for leaf in (own, of_ca)]
    lasting = await connect(server)
    for client in clients:
        assert (await client.request()).status == 200

    for client in clients:
        await until_cut(client)
    rejections = [await server.rejection(), await server.rejection()]
    assert {(each.reason, each.user, each.established) for each in rejections} == {
        (Reason.EXPIRED, "brief", True),
        (Reason.EXPIRED, "of a brief CA", True),
    }
    for leaf in (own, of_ca):
        assert await (await connect(server, identity=leaf)).alert() == "certificate_expired"
    assert (await lasting.request()).status == 200


async def test_a_crl_that_goes_stale_refuses_the_live_connection_too(
    start: Any, connect: Any, credentials: Credentials
) -> None:
    """Fails closed: without fresh revocation lists nobody is known to be unrevoked."""
    server = await begin(start, crl=True)
    client = await connect(server)
    brief = credentials.authority.sign_crl(days=1, now=datetime.now(UTC) + BRIEFLY - timedelta(days=1))
    server.replace(server.crl, brief.public_bytes(serialization.Encoding.PEM))
    await server.reloaded()
    assert (await client.request()).status == 200

    await until_cut(client)
    assert (await server.rejection()).reason is Reason.CRL_STALE
    assert await (await connect(server)).alert() == "certificate_expired"


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda s: s.key.unlink(), "cannot read .*key.pem"),
        (lambda s: s.key.write_bytes(b"no key"), "cannot use .*server.pem with .*key.pem"),
        (lambda s: s.client_ca.write_bytes(b""), "ca.pem holds no PEM certificates"),
        (lambda s: s.crl.write_bytes(b""), "crl.pem holds no PEM CRL"),
    ],
)
async def test_unusable_files_at_the_start_are_a_clean_error(
    break_it: Any, message: str, start: Any, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = credentials.write
    monkeypatch.setattr(credentials, "write", lambda files: (write(files), break_it(files)))
    with pytest.raises(TlsConfigurationError, match=message):
        await start(crl=True)


async def test_an_encrypted_key_is_refused_without_a_prompt(
    start: Any, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = credentials.server.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"passphrase"),
    )
    write = credentials.write
    monkeypatch.setattr(credentials, "write", lambda files: (write(files), files.key.write_bytes(pem)))
    with pytest.raises(TlsConfigurationError, match="encrypted"):
        await start()


@pytest.mark.parametrize("which", ["certificate", "client_ca"])
async def test_development_certificates_are_refused_whatever_their_file(
    which: str, start: Any, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are recognised by what is signed into them, and accepted only by who says so."""
    authority = Authority.create("kdm development CA", "kdm DEVELOPMENT ONLY - not secret", days=1)
    pair = authority.issue("localhost", sans=["localhost"], purposes=["server"], days=1)
    write = credentials.write

    def write_development(files: Any) -> None:
        write(files)
        if which == "certificate":
            files.certificate.write_bytes(pair.certificate_pem())
            files.key.write_bytes(pair.key_pem())
        else:
            files.client_ca.write_bytes(authority.pair.certificate_pem() + credentials.ca_pem())

    monkeypatch.setattr(credentials, "write", write_development)
    with pytest.raises(TlsConfigurationError, match="development PKI"):
        await start()
    await start(development=True)


async def test_reloading_under_load_answers_every_request(start: Any, connect: Any, credentials: Credentials) -> None:
    """Three reloads while four clients connect and ask without a pause: no request fails."""
    server = await begin(start)
    done = asyncio.Event()

    async def ask() -> int:
        asked = 0
        while not done.is_set():
            client = await connect(server)
            assert (await client.request()).status == (await client.request()).status == 200
            await client.close()
            asked += 2
        return asked

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask()) for _ in range(4)]
        for _ in range(3):
            successor = credentials.new_server()
            server.replace(server.files.key, successor.key_pem())
            server.replace(server.files.certificate, successor.certificate_pem())
            await server.reloaded()
        done.set()
    assert all(task.result() for task in tasks)
