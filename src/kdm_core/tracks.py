"""What is known of one Deployment's changes: what was seen of it last, and the own writes that belong to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from attrs import define

from kdm_core.attribution import FIELD_MANAGER
from kdm_core.history import CountChange, Ring
from kdm_core.labels import NO_LABELS
from kdm_core.model import Deployment, DeploymentRef
from kdm_core.versions import older

MAYBE_OWN: Final = frozenset({"", FIELD_MANAGER})
"""The field managers of a change that an own write may have made: where nobody looks there is none."""


@define(eq=False)
class OwnWrite:
    """A write of this kdm, from before it is sent until the cluster has shown what became of it.

    Attributes:
        ref: Of which Deployment.
        desired: The count.
        actor: For whom.
        reason: Why.
        request_id: Of which request.
        batch: Of which batch.
        uid: The object that was there, then the one that was written; "" where none was known.
        version: The version that the answer names.
        previous: The count before, as far as it is known.
        exact: Whether the cluster itself compared that count, in one step with the write.
        at: When the answer came, in seconds since 1970; when it was given up, where there was none.
        reported: Whether it was passed on.
    """

    ref: DeploymentRef
    desired: int
    actor: str
    reason: str
    request_id: str
    batch: str
    uid: str = ""
    version: str = ""
    previous: int | None = None
    exact: bool = False
    at: float = 0.0
    reported: bool = False

    def change(self, previous: int | None, at: int, version: str = "") -> CountChange:
        """Return the change that it made."""
        return CountChange(
            self.ref,
            self.uid,
            at,
            previous,
            self.desired,
            FIELD_MANAGER,
            self.actor,
            self.reason,
            self.request_id,
            self.batch,
            version or self.version,
        )


class Track(Ring):
    """One Deployment: what was seen of it last, and the own writes that the cluster has not shown yet.

    Attributes:
        ref: Which one.
        uid: Which object.
        seen: What the cluster showed last; None where it has shown nothing yet.
        gone: Whether it was deleted.
        skipped: Whether changes since the newest recorded one may have been missed.
        labels: Its labels, as far as they are known.
        pending: Own writes with an answer, by version.
        settled: The newest own write that was recorded before the cluster has shown it; None where there is none.
        held: What the cluster showed since, while own writes were under way; with those writes.
    """

    __slots__ = ("gone", "held", "labels", "pending", "ref", "seen", "settled", "skipped", "uid")

    def __init__(self, ref: DeploymentRef, uid: str, labels: Mapping[str, str] = NO_LABELS) -> None:
        super().__init__()
        self.ref = ref
        self.uid = uid
        self.labels = labels
        self.seen: Deployment | None = None
        self.gone = False
        self.skipped = False
        self.pending: tuple[OwnWrite, ...] = ()
        self.settled: OwnWrite | None = None
        self.held: tuple[tuple[Deployment, frozenset[OwnWrite]], ...] = ()

    def newest_first(self) -> Iterator[CountChange]:
        """Yield its changes, the newest first; those that the cluster has not shown yet as they were answered."""
        yield from self.unconfirmed()
        yield from reversed(self.changes)

    def unconfirmed(self) -> Iterator[CountChange]:
        """Yield what own writes changed that the cluster has not shown yet, the newest first."""
        for own in reversed(_one_of_each_version(self.pending)):
            if own.previous != own.desired:
                yield own.change(own.previous, int(own.at))

    def take_all(self) -> list[OwnWrite]:
        """Take out all own writes."""
        pending, self.pending = self.pending, ()
        return _one_of_each_version(pending)

    def take_due(self, version: str) -> list[OwnWrite]:
        """Take out the own writes that a version has."""
        due = [own for own in self.pending if not older(version, own.version)]
        self.pending = tuple(own for own in self.pending if older(version, own.version))
        return _one_of_each_version(due)


def _one_of_each_version(writes: Iterable[OwnWrite]) -> list[OwnWrite]:
    """Return the writes that may have made their versions: of several that were answered with one, the likeliest."""
    found: dict[str, OwnWrite] = {}
    for own in writes:
        first = found.setdefault(own.version, own)
        if (own.exact, own.previous != own.desired) > (first.exact, first.previous != first.desired):
            found[own.version] = own
    return list(found.values())


EARLY: Final = 64
"""How many Deployments may have been written and not been seen yet. Usually it is none, or one that is new."""


class Tracks:
    """All that is known, by name.

    Attributes:
        present: Those that are there.
        gone: Those that were deleted, the oldest first.
    """

    def __init__(self) -> None:
        self.present: dict[DeploymentRef, Track] = {}
        self.gone: dict[DeploymentRef, tuple[Track, ...]] = {}
        self._early: dict[str, Track] = {}

    def of(self, ref: DeploymentRef) -> list[Track]:
        """Return what is known under a name: the object that is there, then those that were, the newest first."""
        present = self.present.get(ref)
        early = [each for each in self._early.values() if each.ref == ref]
        return [*early, *([present] if present else []), *reversed(self.gone.get(ref, ()))]

    def begin(self, ref: DeploymentRef, uid: str) -> Track:
        """Return the track of a Deployment that is there now: a new one, unless something is known of it."""
        track = self._early.pop(uid, None)
        if track is None:  # kdm reads everything again where the cluster has another address: nothing was deleted then
            track = next((each for each in self.gone.get(ref, ()) if each.uid == uid), None)
            if track is None:
                track = Track(ref, uid)
            else:
                self.forget(track)
                track.gone = False
        self.present[ref] = track
        return track

    def expect(self, ref: DeploymentRef, uid: str, labels: Mapping[str, str]) -> tuple[Track, Track | None]:
        """Return a new track of a Deployment that nothing was seen of yet; and one that has been so for too long."""
        oldest = next(iter(self._early.values())) if len(self._early) >= EARLY else None
        track = self._early[uid] = Track(ref, uid, labels)
        return track, oldest

    def bury(self, track: Track) -> None:
        """Note that a Deployment is gone."""
        track.gone = True
        self._early.pop(track.uid, None)
        if self.present.get(track.ref) is track:
            del self.present[track.ref]
        self.gone[track.ref] = (*self.gone.get(track.ref, ()), track)

    def forget(self, track: Track) -> None:
        """Forget one that is gone."""
        left = tuple(each for each in self.gone.get(track.ref, ()) if each is not track)
        if left:
            self.gone[track.ref] = left
        else:
            self.gone.pop(track.ref, None)


class Words:
    """Keeps one copy of each of the words that come again: field managers, users, reasons."""

    LIMIT: Final = 4096
    """How many. It is not sys.intern: what that keeps may never be freed again (CPython 3.12)."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def once(self, word: str) -> str:
        """Return the copy of a word that is kept."""
        if len(self._known) >= self.LIMIT:
            self._known.clear()
        return self._known.setdefault(word, word)


def made_by(own: OwnWrite, count: int | None, specs: int | None, after: Deployment) -> CountChange | None:
    """Return what an own write changed; None where it changed nothing.

    Args:
        own: The write: its version is this one, or one that was passed by.
        count: The count before it, as the cluster showed it; None where it did not.
        specs: How many changes of the spec this version is ahead of the one seen before; None where none was.
        after: The version.
    """
    at, previous = int(own.at), own.previous
    if own.version == after.resource_version:
        if specs == 0 or manager_of(after) not in MAYBE_OWN or (specs == 1 and count == own.desired):
            return None  # the count was there already
        at = (after.last_change.at if after.last_change is not None else 0) or at
    if not own.exact and count is not None and (count != own.desired or previous is None):
        previous = count
    return own.change(previous, at) if previous != own.desired else None


def manager_of(deployment: Deployment) -> str:
    """Return who changed the count last, as the cluster names it; "" where that is not known."""
    return "" if deployment.last_change is None else deployment.last_change.manager
