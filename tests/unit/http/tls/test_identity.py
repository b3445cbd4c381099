"""Who the application is told is asking."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from kdm_cli.pki.authority import Authority
from kdm_http.tls.spiffe import check_id
from unit.http.client import Client
from unit.http.credentials import Credentials, Leaf, craft


async def test_the_scope_names_the_peer(start: Any, connect: Any, credentials: Credentials) -> None:
    """The common name is the user, the organizations are the groups."""
    server = await start()
    client = await connect(server)
    told = (await client.request()).json

    assert told["user"] == "alice"
    assert told["groups"] == ["devs", "ops"]
    assert told["fingerprint"] == credentials.alice.certificate.fingerprint(hashes.SHA256()).hex()
    assert told["address"] == "{}:{}".format(*client.writer.get_extra_info("sockname"))


async def test_a_spiffe_id_is_the_user(start: Any, connect: Any, credentials: Credentials) -> None:
    server = await start()
    svid = credentials.authority.issue("ignored", sans=["spiffe://example.org/ns/prod/sa/web"], days=1)

    told = (await (await connect(server, identity=Leaf.of(svid))).request()).json
    assert told["user"] == "spiffe://example.org/ns/prod/sa/web"


async def test_two_clients_at_once_are_not_confused(start: Any, connect: Any, credentials: Credentials) -> None:
    server = await start()
    clients = [await connect(server, identity=leaf) for leaf in (credentials.alice, credentials.bob) * 5]
    told = await asyncio.gather(*(client.request() for client in clients))

    assert [each.json["user"] for each in told] == ["alice", "bob"] * 5


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2], ids=["1.3", "1.2"])
async def test_a_client_of_an_intermediate_ca_is_known_by_its_chain(
    version: ssl.TLSVersion, start: Any, credentials: Credentials
) -> None:
    """A client that brings its intermediate CA's certificate along is accepted below a trusted root.

    It stays so when files are reloaded, and when it resumes its session of TLS 1.2.
    """
    server = await start(minimum_tls_version=ssl.TLSVersion.TLSv1_2)
    root = craft(None, names=[(NameOID.COMMON_NAME, "root")], ca=True, usages=None)
    issuer = Authority.create("intermediate", days=30)
    crossed = (
        x509.CertificateBuilder(
            issuer_name=root.certificate.subject,
            subject_name=issuer.pair.certificate.subject,
            public_key=issuer.pair.key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=issuer.pair.certificate.not_valid_before_utc,
            not_valid_after=issuer.pair.certificate.not_valid_after_utc,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root.signing_key, hashes.SHA256())
    )
    server.replace(server.files.client_ca, credentials.ca_pem() + root.chain)
    await server.reloaded()
    await server.reloaded()

    carol = Leaf.of(issuer.issue("carol", days=1), crossed)
    context = credentials.client_context(identity=carol, version=version)
    client = await Client.open(server.api, context)
    assert (await client.request()).json["user"] == "carol"
    again = await Client.open(server.api, context, client.tls.session)
    assert (await again.request()).json["user"] == "carol"
    assert again.tls.session_reused == (version is ssl.TLSVersion.TLSv1_2)
    server.replace(server.files.client_ca, root.chain)
    await server.reloaded()
    for kept in (client, again):
        assert (await kept.request()).json["user"] == "carol"
        await kept.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2], ids=["1.3", "1.2"])
async def test_the_older_version_is_served_where_allowed(version: ssl.TLSVersion, start: Any, connect: Any) -> None:
    server = await start(minimum_tls_version=ssl.TLSVersion.TLSv1_2)
    client = await connect(server, version=version)

    assert (await client.request()).json["user"] == "alice"
    cipher = client.tls.cipher()
    assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]
    assert client.tls.compression() is None


async def test_the_ops_listener_knows_no_peer(start: Any) -> None:
    """Probes come without TLS and without a certificate."""
    server = await start()
    reader, writer = await asyncio.open_connection(*server.ops)
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: kdm\r\nconnection: close\r\n\r\n")
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"stopping": False, "peer": None}


async def test_responses_say_the_date_and_not_the_server(start: Any, connect: Any) -> None:
    headers = (await (await connect(await start())).request()).headers
    assert "date" in headers
    assert "server" not in headers


async def test_a_forwarded_header_changes_nothing(start: Any, connect: Any) -> None:
    """There is no proxy to trust: the address is the connection's."""
    client = await connect(await start())
    told = (await client.request(headers="x-forwarded-for: 192.0.2.1\r\n")).json
    assert told["address"] == "{}:{}".format(*client.writer.get_extra_info("sockname"))


@pytest.mark.parametrize(
    "spiffe_id",
    [
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe://example.org//x",
        "spiffe://example.org/x/",
        "spiffe://example.org/../x",
        "spiffe://example.org/%41",
        "spiffe://example.org/x?y",
        "spiffe://example.org/x#y",
        "spiffe://example.org:443/x",
        "spiffe://user@example.org/x",
        "spiffe://Example.org/x",
        "spiffe:///x",
        "SPIFFE://example.org/x",
        f"spiffe://{'x' * 256}/x",
        f"spiffe://example.org/{'x' * 2048}",
    ],
)
async def test_what_is_no_spiffe_id(spiffe_id: str) -> None:
    with pytest.raises(ValueError, match="SPIFFE ID"):
        check_id(spiffe_id)
