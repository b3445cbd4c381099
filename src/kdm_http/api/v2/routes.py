"""API v2's rows of the table of routes."""

from __future__ import annotations

from typing import Final

from kdm_http.api.route import Route
from kdm_http.api.v2.bodies import About, DeploymentBody, DeploymentList, ReplicasBody, RolloutBody, WrittenBody
from kdm_http.api.v2.bulk import scale_many
from kdm_http.api.v2.bulk_bodies import BulkBody
from kdm_http.api.v2.dialect import V2
from kdm_http.api.v2.history import get_history, list_history
from kdm_http.api.v2.history_bodies import HistoryBody
from kdm_http.api.v2.parking import list_parked, park, restore
from kdm_http.api.v2.parking_bodies import ParkedList, ParkingBody
from kdm_http.api.v2.reads import (
    get_about,
    get_deployment,
    get_problem,
    get_replicas,
    list_deployments,
    list_problems,
)
from kdm_http.api.v2.rollouts import get_rollout
from kdm_http.api.v2.writes import adjust, set_replicas

BASE: Final = "/api/v2"
_OF_NAMESPACE: Final = f"{BASE}/namespaces/{{namespace}}/deployments"
_ONE: Final = f"{_OF_NAMESPACE}/{{name}}"

_FILTERS: Final = ("labelSelector", "state", "limit", "continue")
_VERSION: Final = ("resourceVersion", "wait")
_WRITE: Final = ("dryRun", "wait", "for")
_PARKED: Final = ("parkId", "labelSelector")
_HISTORY: Final = ("labelSelector", "since", "limit", "continue")
_TARGET: Final = ("wait", "for", "uid", "resourceVersion", "replicas")


def _list(template: str, operation: str) -> Route:
    return Route(
        "GET",
        template,
        V2,
        operation,
        list_deployments,
        DeploymentList,
        tagged=True,
        query=(*_FILTERS, *_VERSION, "watch", "allowWatchBookmarks"),
        at_once_query=_FILTERS,
    )


ROUTES: Final = (
    Route("GET", BASE, V2, "About", get_about, About, query=()),
    _list(f"{BASE}/deployments", "ListDeployments"),
    _list(_OF_NAMESPACE, "ListNamespace"),
    Route(
        "GET",
        _ONE,
        V2,
        "GetDeployment",
        get_deployment,
        DeploymentBody,
        query=("access", *_VERSION),
        at_once_query=("access",),
    ),
    Route("GET", f"{_ONE}/replicas", V2, "GetReplicas", get_replicas, ReplicasBody, query=()),
    Route("PUT", f"{_ONE}/replicas", V2, "SetReplicas", set_replicas, WrittenBody, query=_WRITE, replayable=True),
    Route("POST", f"{_ONE}/adjust", V2, "Adjust", adjust, WrittenBody, query=_WRITE, replayable=True),
    Route(
        "POST",
        f"{BASE}/scale",
        V2,
        "ScaleMany",
        scale_many,
        BulkBody,
        query=_WRITE,
        replayable=True,
        progressive=True,
    ),
    Route("POST", f"{_ONE}/park", V2, "Park", park, ParkingBody, query=_WRITE, replayable=True),
    Route("POST", f"{_ONE}/restore", V2, "Restore", restore, ParkingBody, query=_WRITE, replayable=True),
    Route("GET", f"{BASE}/parked", V2, "ListParked", list_parked, ParkedList, query=_PARKED),
    Route(
        "GET",
        f"{BASE}/namespaces/{{namespace}}/parked",
        V2,
        "ListParkedOfNamespace",
        list_parked,
        ParkedList,
        query=_PARKED,
    ),
    Route("GET", f"{_ONE}/rollout", V2, "GetRollout", get_rollout, RolloutBody, query=_TARGET),
    Route("GET", f"{_ONE}/history", V2, "GetHistory", get_history, HistoryBody, query=("since", "limit")),
    Route("GET", f"{BASE}/history", V2, "ListHistory", list_history, HistoryBody, query=_HISTORY),
    Route(
        "GET",
        f"{BASE}/namespaces/{{namespace}}/history",
        V2,
        "ListNamespaceHistory",
        list_history,
        HistoryBody,
        query=_HISTORY,
    ),
    Route("GET", "/problems", V2, "ListProblems", list_problems, query=()),
    Route("GET", "/problems/{code}", V2, "GetProblem", get_problem, query=()),
)
