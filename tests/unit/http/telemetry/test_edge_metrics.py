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

from kdm_cli.pki.authority import Authority
from kdm_core import Identity
from kdm_http.telemetry.edge_metrics import REMEMBERED_CLIENTS, EdgeMetrics
from kdm_http.tls.peer import Peer
from kdm_http.tls.rejection import Reason

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
    traffic = EdgeMetrics(registry)
    day = datetime(2030, 1, 1, tzinfo=UTC)
    traffic.reloaded({"server": day, "client_ca": day + timedelta(days=1), "crl": day + timedelta(days=2)})
    assert ends(registry, "server") == day.timestamp()
    assert ends(registry, "client_ca") == day.timestamp() + 86400
    assert ends(registry, "crl") == day.timestamp() + 2 * 86400
    traffic.reloaded({"server": day})
    assert ends(registry, "crl") is None, "there is no revocation list any more"


def test_the_client_whose_certificate_ends_first_is_told_until_it_comes_with_a_newer_one(authority: Authority) -> None:
    registry = CollectorRegistry()
    traffic = EdgeMetrics(registry)
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
    traffic = EdgeMetrics(registry)
    traffic.reloaded({})
    first = peer(authority, "first", 5)
    other = peer(authority, "other", 50)
    traffic.connection_opened("api", first)
    assert ends(registry, "client") == first.not_after.timestamp()
    for number in range(REMEMBERED_CLIENTS):
        traffic.connection_opened("api", evolve(other, identity=Identity(f"user-{number}")))
    assert ends(registry, "client") == other.not_after.timestamp()


def test_what_can_be_known_in_advance_starts_at_zero() -> None:
    """A first refusal is a rise from zero, which an alert on an increase sees, and not a series out of nowhere."""
    registry = CollectorRegistry()
    traffic = EdgeMetrics(registry)
    for reason in Reason:
        assert registry.get_sample_value("kdm_clients_rejected_total", {"reason": reason.value}) == 0
    for result in ("used", "refused"):
        assert registry.get_sample_value("kdm_certificate_reloads_total", {"result": result}) == 0
    for listener in ("api", "ops"):
        assert registry.get_sample_value("kdm_connections_dropped_total", {"listener": listener}) == 0
        assert registry.get_sample_value("kdm_requests_refused_total", {"listener": listener, "status": "429"}) == 0
    traffic.connection_opened("api", None)
    traffic.connection_closed("api")
    assert registry.get_sample_value("kdm_connections_opened_total", {"listener": "api"}) == 1
    assert registry.get_sample_value("kdm_connections", {"listener": "api"}) == 0


def test_a_refused_file_is_told_until_it_is_mended() -> None:
    """A counter's rise is forgotten after a while; that kdm runs on older files than are there is not."""
    registry = CollectorRegistry()
    traffic = EdgeMetrics(registry)

    def successful(what: str) -> float | None:
        return registry.get_sample_value(f"kdm_{what}_last_reload_successful")

    traffic.reloaded({})
    assert (successful("certificate"), successful("policy")) == (1, 1)
    traffic.reload_refused("no PEM")
    traffic.policy_reloaded(False)
    assert (successful("certificate"), successful("policy")) == (0, 0)
    traffic.reloaded({})
    traffic.policy_reloaded(True)
    assert (successful("certificate"), successful("policy")) == (1, 1)
