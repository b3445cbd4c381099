"""What everything has that can be watched, whatever its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kdm_core.model import DeploymentRef

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from kdm_core.model import Deployment


class Watched(Protocol):
    """An object of the cluster, of any kind that lives in namespaces."""

    @property
    def ref(self) -> DeploymentRef:
        """Its namespace and name."""

    @property
    def uid(self) -> str:
        """Its identity: one deleted and created again under the same name has another."""

    @property
    def resource_version(self) -> str:
        """The version of the cluster's state this was read at."""


if TYPE_CHECKING:
    W = TypeVar("W", bound=Watched, default=Deployment)
    """Which kind is watched. Where nothing is said: Deployments."""
else:
    from typing import TypeVar

    W = TypeVar("W", bound=Watched)
