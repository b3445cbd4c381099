"""Examples of API v2's bodies, for its description."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kdm_http.api.v2.asked import Adjust, Park, Restore, SetReplicas
from kdm_http.api.v2.bodies import About, DeploymentBody, DeploymentList, ReplicasBody, RolloutBody, WrittenBody
from kdm_http.api.v2.bulk_asked import ScaleMany
from kdm_http.api.v2.bulk_bodies import BulkBody
from kdm_http.api.v2.history_bodies import HistoryBody
from kdm_http.api.v2.parking_bodies import ParkedList, ParkingBody

Json = dict[str, Any]

_UID: Final = "8f3c2d5e-0b6f-4c55-9a0e-1d2f3a4b5c6d"
_COUNTS: Final = {"desired": 5, "current": 5, "updated": 5, "ready": 4, "available": 4}
_WHICH: Final = {"namespace": "shop", "name": "web", "uid": _UID}

_DEPLOYMENT: Final = {
    **_WHICH,
    "resourceVersion": "48213",
    "generation": 7,
    "observedGeneration": 7,
    "labels": {"tier": "web"},
    "paused": False,
    "replicas": _COUNTS,
    "rollout": {"state": "settling", "message": "5 Pods desired, 5 created, 4 ready, 4 available"},
    "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": ""}],
    "owners": [
        {
            "kind": "HorizontalPodAutoscaler",
            "name": "web",
            "type": "autoscaler",
            "min": 2,
            "max": 10,
            "holds": False,
            "effect": "may-change",
            "message": "HorizontalPodAutoscaler 'web' may set another count at any time",
            "remedy": "change minReplicas or maxReplicas of HorizontalPodAutoscaler 'web'",
        }
    ],
    "parked": None,
    "lastChange": {"at": "2026-11-26T17:00:00Z", "manager": "kdm", "actor": "alice", "reason": "sale"},
}
_ROLLOUT: Final = {
    "outcome": "done",
    "for": "available",
    "message": "",
    "warnings": [],
    "elapsedSeconds": 4.2,
    "replicas": {"desired": 5, "current": 5, "updated": 5, "ready": 5, "available": 5},
    "target": {"uid": _UID, "resourceVersion": "48250", "replicas": 5},
    "resume": None,
    "supersededBy": None,
}

_PARKED: Final = {"replicas": 3, "at": "2026-11-26T22:00:00Z", "by": "alice", "reason": "night", "parkId": "night"}

EXAMPLES: Final[dict[type[msgspec.Struct], Json]] = {
    HistoryBody: {
        "since": "2026-11-25T09:00:00Z",
        "complete": False,
        "continue": None,
        "items": [
            {
                **_WHICH,
                "resourceVersion": "48250",
                "at": "2026-11-26T17:00:00Z",
                "previous": 3,
                "desired": 5,
                "manager": "kdm",
                "actor": "alice",
                "reason": "sale",
                "requestId": "4f2c9a1be07d3386",
                "batch": None,
                "gap": False,
            }
        ],
    },
    About: {
        "version": "0.2.0",
        "user": {"name": "alice", "groups": ["platform"]},
        "features": {
            "rollout": True,
            "idempotencyKey": True,
            "watch": True,
            "owners": False,
            "parking": False,
            "bulk": True,
            "history": False,
        },
        "ownersUnknown": [],
        "limits": {
            "maxReplicas": 1000,
            "maxWaitSeconds": 600,
            "maxBodyBytes": 65536,
            "maxReasonLength": 256,
            "maxBulkItems": 500,
            "idempotencyKeySeconds": 900,
        },
    },
    DeploymentBody: _DEPLOYMENT,
    DeploymentList: {
        "metadata": {
            "resourceVersion": "48213",
            "continue": None,
            "remainingItemCount": 0,
            "ageSeconds": 2,
            "stale": False,
            "consistent": True,
        },
        "items": [_DEPLOYMENT],
    },
    ReplicasBody: {**_WHICH, "generation": 7, "replicas": {"desired": 5}},
    RolloutBody: _ROLLOUT,
    WrittenBody: {
        **_WHICH,
        "resourceVersion": "48250",
        "replicas": {"previous": 3, "desired": 5},
        "changed": True,
        "dryRun": False,
        "warnings": [],
        "rollout": _ROLLOUT,
    },
    BulkBody: {
        "batch": "0d0c4c8e-5f3b-4d0e-9a52-0b8f6a1c7e21",
        "plan": "c84ffcb8d8c8e7b81e7a0c5a1038c3bc",
        "dryRun": False,
        "warnings": [],
        "summary": {"total": 1, "changed": 1, "unchanged": 0, "refused": 0, "failed": 0, "skipped": 0},
        "items": [
            {
                **_WHICH,
                "from": 3,
                "to": 5,
                "effect": None,
                "owners": [],
                "resourceVersion": "48250",
                "warnings": [],
                "outcome": "done",
                "written": True,
                "error": None,
                "rollout": _ROLLOUT,
            }
        ],
    },
    ParkingBody: {
        **_WHICH,
        "resourceVersion": "48250",
        "replicas": {"previous": 3, "desired": 0},
        "changed": True,
        "dryRun": False,
        "warnings": [],
        "parked": _PARKED,
        "rollout": None,
    },
    ParkedList: {
        "metadata": {"resourceVersion": "48250", "ageSeconds": 2, "stale": False},
        "batches": [{"parkId": "night", "at": "2026-11-26T22:00:00Z", "by": "alice", "reason": "night", "count": 1}],
        "items": [{**_WHICH, **_PARKED, "state": "parked"}],
    },
    Park: {"parkId": "night", "reason": "night"},
    Restore: {"parkId": "night", "reason": "morning"},
    ScaleMany: {"select": {"namespace": "shop", "labelSelector": "tier=web"}, "factor": 1.5, "reason": "sale"},
    SetReplicas: {"replicas": 5, "currentReplicas": 3, "reason": "sale"},
    Adjust: {"delta": -2, "min": 1, "max": 10, "onBound": "clamp", "reason": "night"},
}
"""One of each body."""

PROBLEM: Final[Json] = {"requestId": "4f2c9a1be07d3386"}
"""What the examples of errors have in common."""
