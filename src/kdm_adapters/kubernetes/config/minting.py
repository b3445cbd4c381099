"""What a login plugin gave, and when it may and must run again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from kdm_adapters.kubernetes.config.access import Plan
from kdm_adapters.kubernetes.config.exec_plugin import Minted, PluginError, run_plugin

EXPIRY_MARGIN_S: Final = 60.0
"""What a plugin gave is renewed this long before it expires, in seconds, or after three quarters of its life."""

RENEW_PAUSE_S: Final = 10.0
"""The least time between two runs of a plugin, and between two attempts after a failure, in seconds: no plugin must be
run by every request, whatever expiry it gives and whatever the cluster thinks of its token."""


class Minting:
    """What one plugin gave.

    Args:
        now: Seconds since the epoch.
        clock: Monotonic seconds.
    """

    def __init__(self, now: Callable[[], float], clock: Callable[[], float]) -> None:
        self._now = now
        self._clock = clock
        self._asked: tuple[object, str] | None = None
        self._minted: Minted | None = None
        self._failure: PluginError | None = None
        self._ran_at = -math.inf
        self._renew_at = math.inf

    def is_due(self) -> bool:
        """Whether what there is expires soon. Only some time after it was made: a plugin may give nothing better."""
        return self._now() >= self._renew_at and self._clock() - self._ran_at >= RENEW_PAUSE_S

    def is_expired(self) -> bool:
        """Whether what there is has expired, and something better may be had."""
        return self._minted is not None and self._now() >= self._minted.expires_at and self.is_due()

    async def mint(self, plan: Plan, environ: Mapping[str, str], *, again: bool) -> Minted:
        """Return what the plugin gives, running it only where that is due.

        Raises:
            PluginError: It failed, or did so a moment ago.
        """
        assert plan.plugin is not None  # noqa: S101 - the caller looked
        asked = (plan.plugin, plan.info)
        if asked == self._asked:
            if self._clock() - self._ran_at < RENEW_PAUSE_S:
                again = False
                if self._failure is not None:
                    raise self._failure
            if self._minted is not None and self._failure is None and not again and not self.is_due():
                return self._minted
        else:
            self._minted = None
        self._asked, self._failure = asked, None
        try:
            self._minted = await run_plugin(plan.plugin, plan.info, environ)
        except PluginError as error:
            self._failure = error
            raise
        finally:
            self._ran_at = self._clock()
        left_s = self._minted.expires_at - self._now()
        self._renew_at = self._minted.expires_at - min(EXPIRY_MARGIN_S, max(0.0, left_s / 4))
        return self._minted

    def reject(self, detail: str) -> PluginError:
        """Have the plugin run again after a pause: what it gave cannot be used. Returns the failure that this is."""
        self._failure = PluginError("its answer cannot be used", detail)
        return self._failure
