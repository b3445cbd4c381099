"""What Prometheus learns of the edge."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isnan
from typing import Final

import pytest
from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from prometheus_client import CollectorRegistry

from kdm_core import Identity
from kdm_http.peer import Peer
from kdm_http.pki import Authority
from kdm_http.traffic import COUNTED_USERS, REMEMBERED_CLIENTS, Traffic

END: Final = "kdm_certificate_not_after_timestamp_seconds"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("test CA", "test", days=400)


def peer(authority: Authority, user: str, days: int) -> Peer:
    pem = authority.issue(user, days=days).certificate_pem()
    return Peer.from_der(x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER), "127.0.0.1:1")


def ends(registry: CollectorRegistry, certificate: str) -> float | None:
    return registry.get_sample_value(END, {"certificate": certificate})


def test_the_end_of_every_kind_of_certificate_is_told() -> None:
    registry = CollectorRegistry()
    traffic = Traffic(registry)
    day = datetime(2030, 1, 1, tzinfo=UTC)
    traffic.reloaded({"server": day, "client_ca": day + timedelta(days=1), "crl": day + timedelta(days=2)})
    assert ends(registry, "server") == day.timestamp()
    assert ends(registry, "client_ca") == day.timestamp() + 86400
    assert ends(registry, "crl") == day.timestamp() + 2 * 86400
    traffic.reloaded({"server": day})
    assert ends(registry, "crl") is None, "there is no revocation list any more"


def test_the_client_whose_certificate_ends_first_is_told_until_it_comes_with_a_newer_one(authority: Authority) -> None:
    registry = CollectorRegistry()
    traffic = Traffic(registry)
    traffic.reloaded({})
    nobody = ends(registry, "client")
    assert nobody is not None
    assert isnan(nobody)
    soon, late, renewed = peer(authority, "soon", 5), peer(authority, "late", 50), peer(authority, "soon", 100)
    traffic.connection_opened("api", soon)
    traffic.connection_opened("api", late)
    assert ends(registry, "client") == soon.not_after.timestamp()
    traffic.connection_opened("api", renewed)
    assert ends(registry, "client") == late.not_after.timestamp()


def test_clients_without_number_cost_bounded_memory(authority: Authority) -> None:
    """The ones seen last are remembered."""
    registry = CollectorRegistry()
    traffic = Traffic(registry)
    traffic.reloaded({})
    first = peer(authority, "first", 5)
    other = peer(authority, "other", 50)
    traffic.connection_opened("api", first)
    assert ends(registry, "client") == first.not_after.timestamp()
    for number in range(REMEMBERED_CLIENTS):
        traffic.connection_opened("api", evolve(other, identity=Identity(f"user-{number}")))
    assert ends(registry, "client") == other.not_after.timestamp()


def test_users_without_number_cost_a_bounded_number_of_time_series() -> None:
    registry = CollectorRegistry()
    traffic = Traffic(registry)
    for number in range(COUNTED_USERS + 50):
        traffic.request("GET", "/deployments", 200, 0.001, f"user-{number}")
    traffic.request("GET", "/deployments", 200, 0.001, "user-0")
    name = "kdm_http_requests_by_user_total"
    assert registry.get_sample_value(name, {"user": "user-0"}) == 2
    assert registry.get_sample_value(name, {"user": "other"}) == 50
    assert registry.get_sample_value(name, {"user": f"user-{COUNTED_USERS}"}) is None
