"""Certificates that are not accepted, on either side: one line each, which says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kdm_cli.exits import Exit
from unit.adapters.remote.test_client import tls_server
from unit.cli.command.asking import Asked, Command
from unit.http.credentials import Leaf


@pytest.fixture
def leaves(kdm: Asked) -> dict[str, Leaf]:
    credentials = kdm.served.credentials
    return {
        "expired": credentials.expired,
        "early": credentials.early,
        "stranger": credentials.stranger,
        "server": credentials.server_only,
    }


@pytest.mark.parametrize(
    ("who", "told"),
    [
        ("expired", "the client certificate has expired"),
        ("early", "client certificate"),
        ("stranger", "the client certificate is not from a CA that the server trusts"),
        ("server", "the client certificate is not meant for clients"),
    ],
)
def test_a_client_certificate_that_kdm_refuses(
    kdm: Asked, run: Command, leaves: dict[str, Leaf], who: str, told: str
) -> None:
    access = kdm.served.access(leaves[who], name=who)
    for arguments in (["get"], ["scale", "web=5"]):
        ran = run(*arguments, "--cert", str(access.cert), "--key", str(access.key))
        assert ran.code == Exit.DENIED
        assert told in ran.line
        assert str(access.cert) in ran.line


def test_a_server_certificate_of_another_ca(kdm: Asked, run: Command, tmp_path: Path) -> None:
    other = tmp_path / "other-ca.pem"
    other.write_bytes(kdm.served.credentials.other_authority.pair.certificate_pem())
    ran = run("get", "--ca", str(other))
    assert ran.code == Exit.OTHER
    assert f"is not from the CA in {other}: name the CA file that belongs to this server" in ran.line


def test_a_server_whose_name_is_not_in_its_certificate(kdm: Asked, run: Command, tmp_path: Path) -> None:
    pair = kdm.served.credentials.authority.issue("kdm", sans=["other.example"], purposes=["server"], days=9)
    with tls_server(tmp_path, pair) as port:
        ran = run("get", "--server", f"https://127.0.0.1:{port}")
    assert ran.code == Exit.OTHER
    assert "is for another name: use the name in the certificate, or have one issued that has this name" in ran.line


@pytest.fixture
def expired_server(kdm: Asked, tmp_path: Path) -> Iterator[int]:
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    pair = kdm.served.credentials.authority.issue(
        "kdm", sans=["127.0.0.1"], purposes=["server"], days=1, now=datetime.now(UTC) - timedelta(days=9)
    )
    with tls_server(tmp_path, pair) as port:
        yield port


def test_a_server_certificate_that_has_expired(run: Command, expired_server: int) -> None:
    ran = run("get", "--server", f"https://127.0.0.1:{expired_server}")
    assert ran.code == Exit.OTHER
    assert "has expired: the server needs a new one" in ran.line


@pytest.mark.parametrize("flag", ["--ca", "--cert", "--key"])
def test_a_file_that_is_missing_or_none(run: Command, tmp_path: Path, flag: str) -> None:
    missing, wrong = tmp_path / "none.pem", tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    for path in (missing, wrong):
        ran = run("get", flag, str(path))
        assert ran.code == Exit.USAGE
        assert str(path) in ran.line
