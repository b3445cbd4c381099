"""Which kinds of objects kdm reads from the API server, and where they are."""

from __future__ import annotations

from typing import Final

from attrs import frozen


@frozen
class Resource:
    """A kind of object that lives in namespaces.

    Attributes:
        api: The path of its group and version.
        plural: What it is called in paths, and by RBAC.
        kind: What its objects call themselves.
    """

    api: str
    plural: str
    kind: str

    def path(self, namespace: str | None) -> str:
        """Return the path of the objects of a namespace, or of all for None."""
        return f"{self.api}/{self.plural}" if namespace is None else f"{self.api}/namespaces/{namespace}/{self.plural}"

    def source(self, namespace: str | None) -> str:
        """Return what a watch is called: by its namespace, or "*" for all; with the kind where it is another one."""
        where = namespace or "*"
        return where if self.plural == "deployments" else f"{self.plural}/{where}"


DEPLOYMENTS: Final = Resource("/apis/apps/v1", "deployments", "Deployment")
AUTOSCALERS: Final = Resource("/apis/autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
CONFIG_MAPS: Final = Resource("/api/v1", "configmaps", "ConfigMap")
