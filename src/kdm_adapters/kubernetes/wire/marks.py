"""What a Deployment's metadata says of who sets its count: found in the bytes, without reading all of them.

Nothing here knows a wire format: the same object as JSON and as Protocol Buffers has the same marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from kdm_adapters.kubernetes.wire.words import plain
from kdm_core.owners import Owner, OwnerType

TRACKING_ID: Final = "argocd.argoproj.io/tracking-id"
"""Argo CD's annotation: ``<application>:<group>/<kind>:<namespace>/<name>`` (its manual, "Resource Tracking")."""
TRACKING_ID_BYTES: Final = TRACKING_ID.encode()

FLUX_RECONCILE: Final = "kustomize.toolkit.fluxcd.io/reconcile"
FLUX_APPLIES: Final = "kustomize.toolkit.fluxcd.io/ssa"
FLUX_BYTES: Final = b"kustomize.toolkit.fluxcd.io/"
"""Annotations or labels by which a Kustomization leaves one object alone: kustomize-controller's manual, "Controlling
the apply behavior of resources"."""

_FLUX: Final = (
    ("kustomize.toolkit.fluxcd.io/name", "kustomize-controller", "Kustomization", OwnerType.KUSTOMIZATION),
    ("helm.toolkit.fluxcd.io/name", "helm-controller", "HelmRelease", OwnerType.HELM_RELEASE),
)
"""Flux's labels on what it applies, the field managers of its controllers, and which of its kinds they are for."""

_ARGO_MANAGERS: Final = frozenset({"argocd-controller", "argocd-application-controller"})
"""Argo CD's field managers, new and old. Where it tracks by label, as before version 3, it is known by nothing else."""

_UPDATES_OF_APPLIERS: Final = frozenset({"kubectl-client-side-apply", "helm"}) | _ARGO_MANAGERS
"""Managers that write with an update what was applied: ``kubectl apply`` without ``--server-side``, Helm 3, Argo CD."""


MAX_OWNER_CHARS: Final = 256
"""How much of an owner's kind or name is shown, in characters: a name has at most 253, an annotation anything."""

_LAST_TIME: Final = 253_402_300_799
"""The end of the year 9999 in seconds since the epoch: RFC 3339 has no later time."""


class Write(NamedTuple):
    """A manager that holds ``spec.replicas``: an entry of ``managedFields``."""

    manager: str
    operation: str
    at: int
    """When it last wrote, in seconds since the epoch; 0 where it does not say so, as after a write to ``scale``."""


class Marks(NamedTuple):
    """What was found in a Deployment's metadata. All but the first only where owners are looked for."""

    writes: tuple[Write, ...] = ()
    tracking_id: str = ""
    """The value of Argo CD's annotation."""
    controller: tuple[str, str] | None = None
    """Kind and name of the controlling owner reference."""
    left_alone: bool = False
    """Whether annotations tell Flux's Kustomization to leave it as it is."""


NO_MARKS: Final = Marks()


def named(name: str) -> str:
    """Return an owner's kind or name as it can be shown: the API server takes anything in an owner reference."""
    return name if len(name) <= MAX_OWNER_CHARS and name.isprintable() else plain(name, MAX_OWNER_CHARS)


def left_alone(reconcile: str, applies: str) -> bool:
    """Return whether Flux's Kustomization leaves an object as it is.

    Args:
        reconcile: The value of ``FLUX_RECONCILE``; "" where there is none.
        applies: The value of ``FLUX_APPLIES``; "" where there is none.
    """
    return reconcile.lower() == "disabled" or applies.lower() in {"ignore", "ifnotpresent"}


def time_of(seconds: int) -> int:
    """Return a time as it can be shown; 0 for one that makes no sense. Whoever writes the object may claim any."""
    return seconds if 0 < seconds <= _LAST_TIME else 0


def newest(writes: Iterable[Write]) -> Write | None:
    """Return the newest of some writes; of several within the same second the last. None where there are none.

    A write to ``scale`` has no time: the API server keeps none for that (apimachinery's ``ScaleHandler``). One that
    changed the count has taken it from all others, so whoever holds it besides has only agreed since.
    """
    found: Write | None = None
    for each in writes:
        if found is None or not each.at or 0 < found.at <= each.at:
            found = each
    return found


def owners(marks: Marks, labels: Mapping[str, str], namespace: str, name: str) -> tuple[Owner, ...]:
    """Return who changes a Deployment's count, as far as the Deployment itself says so.

    Args:
        marks: Found in its metadata.
        labels: Its labels.
        namespace: Its namespace.
        name: Its name.
    """
    found: list[Owner] = []
    named_above: set[str] = set()
    if marks.controller is not None:
        kind, controller = (named(each) for each in marks.controller)
        found.append(Owner(kind, controller, type=OwnerType.OPERATOR))
    if marks.tracking_id:
        application, _, tracked = marks.tracking_id.partition(":")
        if application and tracked == f"apps/Deployment:{namespace}/{name}":
            found.append(Owner("Application", named(application), type=OwnerType.ARGO_CD))
            named_above |= _ARGO_MANAGERS
    for label, manager, kind, type_ in _FLUX:
        if label in labels:
            holds = any(each.manager == manager for each in marks.writes) and not (
                type_ is OwnerType.KUSTOMIZATION
                and (marks.left_alone or left_alone(labels.get(FLUX_RECONCILE, ""), labels.get(FLUX_APPLIES, "")))
            )
            found.append(Owner(kind, labels[label], type=type_, holds=holds))
            named_above.add(manager)
    appliers = dict.fromkeys([each.manager for each in marks.writes if _will_apply_again(each)])
    if appliers:
        found += [
            Owner("FieldManager", named(each), type=OwnerType.APPLIER, holds=True)
            for each in appliers
            if each not in named_above
        ]
    return tuple(found)


def _will_apply_again(write: Write) -> bool:
    """Return whether a manager holds the count because it is in what it applies."""
    return write.operation == "Apply" or write.manager in _UPDATES_OF_APPLIERS
