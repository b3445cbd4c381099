"""Revalidation: whether a client's certificate, verified in the handshake, is still good after a reload."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from kdm_http.tls.certificates import Certificate, RevocationList
from kdm_http.tls.probe import ONLY_UNSIGNED, client_of
from kdm_http.tls.rejection import Reason, explain
from kdm_http.tls.verifier import Verifier

FOREVER: Final = datetime.max.replace(tzinfo=UTC)

CLOCK_LAG: Final = timedelta(seconds=0.1)
"""How far OpenSSL's clock may be behind: it asks time(2), which Linux answers by the timer's last tick: up to 10 ms.
So right after the end of a certificate OpenSSL may still find it good, and that verdict must not last."""

REMEMBERED_CLIENTS: Final = 1000
"""How many clients' verdicts are kept, the last asked for: after a reload, a client is checked once."""


class Trust:
    """The client CAs and their revocation lists at one moment.

    OpenSSL verifies the handshake with the same files. This class revalidates connections that stay open: their
    certificate may have expired or been revoked since, or its CA removed. It asks OpenSSL too, so an open connection
    and a new one get the same verdict. Belongs to one event loop.

    Attributes:
        authorities: The certificates trusted to sign clients.
        revocation_lists: Their CRLs; empty when revocation is not checked. When it is, every CA needs a list that is
            not past its end: without one, its clients are refused.
    """

    def __init__(self, authorities: Sequence[Certificate], revocation_lists: Sequence[RevocationList] = ()) -> None:
        """Load the certificates and lists into OpenSSL.

        Raises:
            MaterialMismatch: OpenSSL does not load what kdm read.
        """
        self.authorities = tuple(authorities)
        self.revocation_lists = tuple(revocation_lists)
        self._verifier = Verifier(self.authorities, self.revocation_lists)
        lists = self.revocation_lists
        self._dates = sorted(
            {
                *(date for authority in self.authorities for date in (authority.not_before, authority.not_after)),
                *(date for each in lists for date in (each.begin, each.end) if date is not None),
            }
        )
        self._verdicts: dict[bytes, tuple[Reason | None, datetime]] = {}  # by a digest: chains may be long

    def refusal(self, chain: Sequence[Certificate], now: datetime) -> Reason | None:
        """Return why a client has to be refused, or None if it is good.

        Args:
            chain: The client's certificate, then the intermediate ones it sent.
            now: The time, timezone-aware. OpenSSL uses the system's clock; this one decides how long a verdict
                holds.
        """
        ders = tuple(certificate.der for certificate in chain)
        digest = sha256(b"".join(ders)).digest()
        reason, until = self._verdicts.pop(digest, (None, now))
        if now >= until:
            error = self._verifier.error(ders)
            reason, until = explain(error)[0] if error else None, self.holds_until(chain, now)
        self._verdicts[digest] = reason, until  # as the last one
        if len(self._verdicts) > REMEMBERED_CLIENTS:
            del self._verdicts[next(iter(self._verdicts))]
        return reason

    def holds_until(self, chain: Sequence[Certificate], now: datetime) -> datetime:
        """Return the moment from which on a verdict on a client may be another one: when anything begins or ends.

        It may be past, by ``CLOCK_LAG`` at most: then the verdict is good for this moment alone.
        """
        since = now - CLOCK_LAG
        first = bisect_right(self._dates, since)
        dates = [date for each in chain for date in (each.not_before, each.not_after) if date > since]
        return min(dates + self._dates[first : first + 1], default=FOREVER)

    def flaw(self, authority: Certificate) -> str:
        """Return why no client of one of the CAs could connect now; "" where they can.

        A certificate that is not a CA's is trusted as a client's own. A CA without a revocation list has no clients
        yet, which is not an error: its list may follow.
        """
        lists = [each for each in self.revocation_lists if each.signed_by(authority)]
        points = [each.distribution_points for each in lists if each.distribution_points]
        error = self._verifier.error([client_of(authority, points)])
        code = getattr(error, "verify_code", None)
        if code == ONLY_UNSIGNED or (not authority.is_ca and self._verifier.error([authority.der]) is None):
            return ""
        if error is None:
            raise AssertionError("an unsigned certificate was accepted")
        reason, said = explain(error)
        return "" if reason is Reason.CRL_MISSING and self.revocation_lists and not lists else said
