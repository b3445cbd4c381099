"""Whether a client's certificate, verified once, is still good: asked again after every reload."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from kdm_http.rejection import Reason

_MAX_DEPTH: Final = 10
"""Longest chain followed, in certificates."""


@frozen
class Trust:
    """The client CAs and their revocation lists of one moment. Immutable.

    The handshake is OpenSSL's to verify, with these same files. This class answers for the connections that live on:
    a certificate may have expired, have been revoked, or its CA have been taken away since.

    Attributes:
        authorities: The certificates trusted to sign clients.
        revocation_lists: Their CRLs; empty when revocation is not checked. When it is, every CA of a client needs
            one that is not past its ``nextUpdate``: without, its clients are refused.
    """

    authorities: tuple[x509.Certificate, ...]
    revocation_lists: tuple[x509.CertificateRevocationList, ...] = ()

    def refusal(self, chain: Sequence[x509.Certificate], now: datetime) -> Reason | None:
        """Return why a client is to be refused, or None if it is good.

        Args:
            chain: The client's certificate, then the intermediate ones it sent.
            now: The time to judge at, timezone-aware.
        """
        leaf = chain[0]
        if not self._anchored(leaf, chain[1:], now):
            return Reason.UNKNOWN_CA
        if now < leaf.not_valid_before_utc:
            return Reason.NOT_YET_VALID
        if self.revocation_lists:
            crl = self._newest_list(leaf)
            if crl is None:
                return Reason.CRL_MISSING
            if crl.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None:
                return Reason.REVOKED
        good_until, reason = self.good_until(leaf)
        return reason if now > good_until else None

    def good_until(self, leaf: x509.Certificate) -> tuple[datetime, Reason]:
        """Return the last moment at which a client that is good now still is, and why it will not be after."""
        ends = [(leaf.not_valid_after_utc, Reason.EXPIRED)]
        crl = self._newest_list(leaf)
        if crl is not None and crl.next_update_utc is not None:
            ends.append((crl.next_update_utc, Reason.CRL_STALE))
        return min(ends, key=lambda end: end[0])

    def _newest_list(self, leaf: x509.Certificate) -> x509.CertificateRevocationList | None:
        lists = [crl for crl in self.revocation_lists if crl.issuer == leaf.issuer]
        return max(lists, key=lambda crl: crl.last_update_utc, default=None)

    def _anchored(self, leaf: x509.Certificate, sent: Sequence[x509.Certificate], now: datetime) -> bool:
        current, candidates = leaf, list(sent)
        for _ in range(_MAX_DEPTH):
            if any(current == anchor or _issued(current, anchor) for anchor in self.authorities):
                return True
            issuer = next((c for c in candidates if now <= c.not_valid_after_utc and _issued(current, c)), None)
            if issuer is None:
                return False
            candidates.remove(issuer)
            current = issuer
        return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
