"""What keeps and announces the changes of counts in ``kdm serve``, as its settings have it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from kdm_adapters.prometheus import PrometheusInstrument
from kdm_cli.extras import needed_for
from kdm_cli.settings import BadSetting, Settings
from kdm_core import ChangeLog, ChangeTracker

if TYPE_CHECKING:
    from kdm_adapters.kubernetes.events import EventAnnouncer


def tracker_for(settings: Settings) -> ChangeTracker | None:
    """Return what keeps the history; None where none is kept."""
    return ChangeTracker(ChangeLog(settings.history_entries)) if settings.history_entries else None


def announcer_for(settings: Settings, instrument: PrometheusInstrument) -> EventAnnouncer | None:
    """Return what announces changes; None where nothing does.

    Raises:
        BadSetting: There is nothing to announce, or nowhere.
    """
    if not settings.events:
        return None
    if settings.repository != "kubernetes":
        raise BadSetting("--events needs --repository kubernetes")
    if not settings.history_entries:
        raise BadSetting("--events needs a history: --history-entries must not be 0")
    with needed_for("--events", "kubernetes"):
        from kdm_adapters.kubernetes.api.client import Client  # noqa: PLC0415 - may not be installed
        from kdm_adapters.kubernetes.config.credentials import ClusterConfig, Credentials  # noqa: PLC0415
        from kdm_adapters.kubernetes.events import EventAnnouncer  # noqa: PLC0415
    cluster = ClusterConfig(kubeconfig=settings.kubeconfig, context=settings.context or None)
    return EventAnnouncer(
        Client(Credentials(cluster), instrument),
        instance=socket.gethostname(),  # a Pod's is its name
        instrument=instrument,
    )
