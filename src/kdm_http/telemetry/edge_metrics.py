"""Metrics of what the edge does and refuses. Clients that were turned away are in the audit trail too."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from kdm_core import AuditEvent, AuditSink, AuditUnavailable, Identity, Outcome, Verb
from kdm_core.trail import to_line
from kdm_http.server.events import ServerEvents
from kdm_http.telemetry.request_metrics import RequestMetrics
from kdm_http.tls.peer import Peer
from kdm_http.tls.rejection import Reason, Rejection

REMEMBERED_CLIENTS: Final = 1000
"""Users whose certificate's end is kept, the last seen ones."""

_NOBODY: Final = frozenset({Reason.DISCONNECTED, Reason.TIMEOUT})
"""Probes and scanners that showed nothing: no attempt that an audit would want to know of."""

_RELOADS: Final = {True: "used", False: "refused"}
_LISTENERS: Final = ("api", "ops")
_REFUSALS: Final = (400, 401, 405, 408, 417, 429, 431, 500, 504)
_log = logging.getLogger(__name__)


class EdgeMetrics(ServerEvents):
    """Counts requests, connections and refusals. No label holds what a caller made up.

    Args:
        registry: Where the metrics are registered.
        audit: Where clients that were turned away are recorded; None for nowhere.

    Attributes:
        requests: The counter of the API's answers; see :func:`kdm_http.api.app.create_app`.
    """

    def __init__(self, registry: CollectorRegistry, audit: AuditSink | None = None) -> None:
        self._audit = audit
        self._clients: dict[str, float] = {}  # when each user's newest certificate ends, the last seen last
        self.requests = RequestMetrics()
        registry.register(self.requests)
        connections = Gauge("kdm_connections", "Open connections.", ["listener"], registry=registry)
        opened = Counter(
            "kdm_connections_opened",
            "Connections that were taken; those of the API have passed a TLS handshake.",
            ["listener"],
            registry=registry,
        )
        self._dropped = Counter(
            "kdm_connections_dropped",
            "Connections closed because there were too many.",
            ["listener"],
            registry=registry,
        )
        self._rejected = Counter(
            "kdm_clients_rejected", "Clients turned away, by reason.", ["reason"], registry=registry
        )
        self._refused = Counter(
            "kdm_requests_refused",
            "Requests the server itself answered with an error: the API did not see them, or did not answer.",
            ["listener", "status"],
            registry=registry,
        )
        self._reloads = Counter(
            "kdm_certificate_reloads", "Changed certificate files, used or not.", ["result"], registry=registry
        )
        self._reload_successful = Gauge(
            "kdm_certificate_last_reload_successful",
            "1 while the certificate files are in use; 0 while changed ones are refused and older ones go on.",
            registry=registry,
        )
        self._policy_reloads = Counter(
            "kdm_policy_reloads", "Changed policy files, used or refused.", ["outcome"], registry=registry
        )
        self._policy_reload_successful = Gauge(
            "kdm_policy_last_reload_successful",
            "1 while the policy file is in use; 0 while a changed one is refused and the older one goes on.",
            registry=registry,
        )
        self._policy_reload_successful.set(1)
        # There from the start, so that a first one is seen as a rise.
        for outcome in _RELOADS.values():
            self._reloads.labels(outcome)
            self._policy_reloads.labels(outcome)
        for reason in Reason:
            self._rejected.labels(reason.value)
        self._connections = {listener: connections.labels(listener) for listener in _LISTENERS}
        self._opened = {listener: opened.labels(listener) for listener in _LISTENERS}
        for listener in _LISTENERS:
            self._dropped.labels(listener)
            for status in _REFUSALS:
                self._refused.labels(listener, status)
        self._not_after = Gauge(
            "kdm_certificate_not_after_timestamp_seconds",
            "When the server's certificate, the first client CA, the first CRL and the first seen client's end.",
            ["certificate"],
            registry=registry,
        )

    def rejected(self, rejection: Rejection) -> None:
        """Count and audit a client that was turned away."""
        self._rejected.labels(rejection.reason.value).inc()
        if self._audit is None or rejection.reason in _NOBODY:
            return
        event = AuditEvent(
            time=rejection.time,
            request_id="",
            actor=Identity(rejection.user, fingerprint=rejection.fingerprint, address=rejection.address),
            verb=Verb.CONNECT,
            namespace="",
            name="",
            outcome=Outcome.DENIED,
            reason=f"{rejection.reason.value}: {rejection.detail}",
        )
        try:
            self._audit.record(event)
        except AuditUnavailable as error:
            _log.error("an audit event was lost: %s: %s", error, to_line(event).decode().rstrip())

    def connection_opened(self, listener: str, peer: Peer | None) -> None:
        """Count it as open, and note when its certificate ends."""
        self._opened[listener].inc()
        self._connections[listener].inc()
        if peer is not None:
            self._clients.pop(peer.identity.user, None)
            self._clients[peer.identity.user] = peer.not_after.timestamp()
            if len(self._clients) > REMEMBERED_CLIENTS:
                del self._clients[next(iter(self._clients))]

    def _first_client_end(self) -> float:
        """Return when the first certificate ends that a client showed and that is still good; NaN for none."""
        now = time.time()
        return min((end for end in self._clients.values() if end >= now), default=math.nan)

    def connection_closed(self, listener: str) -> None:
        """Count it as closed."""
        self._connections[listener].dec()

    def connection_dropped(self, listener: str) -> None:
        """Count it."""
        self._dropped.labels(listener).inc()

    def request_refused(self, listener: str, status: int, peer: Peer | None) -> None:  # noqa: ARG002 - no label
        """Count it."""
        self._refused.labels(listener, status).inc()

    def reloaded(self, not_after: Mapping[str, datetime]) -> None:
        """Count the reload, and export until when the certificates are valid."""
        self._reloads.labels("used").inc()
        self._reload_successful.set(1)
        self._not_after.clear()
        self._not_after.labels("client").set_function(self._first_client_end)
        for certificate, end in not_after.items():
            self._not_after.labels(certificate).set(end.timestamp())

    def reload_refused(self, reason: str) -> None:  # noqa: ARG002 - the log has it
        """Count it."""
        self._reloads.labels("refused").inc()
        self._reload_successful.set(0)

    def policy_reloaded(self, used: bool) -> None:
        """Count a changed policy file; see :class:`kdm_cli.policy_file.PolicyFile`."""
        self._policy_reloads.labels(_RELOADS[used]).inc()
        self._policy_reload_successful.set(used)
