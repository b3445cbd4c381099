"""The ports: what the domain needs from the outside, as abstract base classes that adapters subclass."""

from kdm_core.ports.announcing import Announcer
from kdm_core.ports.audit import AuditSink
from kdm_core.ports.callbacks import OnSeen, tell
from kdm_core.ports.instruments import EventInstrument, ServiceInstrument, WatchInstrument
from kdm_core.ports.parking import ParkingLot
from kdm_core.ports.repository import (
    DeploymentAnnotator,
    DeploymentFeed,
    DeploymentObserver,
    DeploymentReader,
    DeploymentRepository,
    DeploymentWriter,
    not_seen_yet,
)
from kdm_core.ports.wrapped import WrappedRepository

__all__ = [
    "Announcer",
    "AuditSink",
    "DeploymentAnnotator",
    "DeploymentFeed",
    "DeploymentObserver",
    "DeploymentReader",
    "DeploymentRepository",
    "DeploymentWriter",
    "EventInstrument",
    "OnSeen",
    "ParkingLot",
    "ServiceInstrument",
    "WatchInstrument",
    "WrappedRepository",
    "not_seen_yet",
    "tell",
]
