"""Who changed which count: what the cluster shows of each Deployment, matched with what this kdm wrote.

A write and the version of the Deployment that it makes are one change, in whichever order the answer and the watch's
event arrive. An answer names the version; so a write is confirmed by the event of that version, and corrected by it:
the count before it is the one of the version before. Where an event comes first it is held back until the answers that
are under way have come.

Nothing here asks anybody, and nothing waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from attrs import evolve

from kdm_core.errors import KdmError
from kdm_core.history import ChangeLog, CountChange
from kdm_core.model import Caller, Deployment, DeploymentRef
from kdm_core.tracks import MAYBE_OWN, OwnWrite, Track, Tracks, Words, made_by, manager_of
from kdm_core.versions import older

LATE_S: Final = 70.0
"""How long after a lost answer its write may still appear, in seconds: an API server gives up on a request after 60 s
(kube-apiserver's --request-timeout)."""

HELD: Final = 64
"""How many versions of one Deployment are held back at most while answers are under way."""


class ChangeTracker:
    """Keeps the changes of all Deployments. Belongs to one event loop, as the repository does that feeds it.

    Args:
        log: Where the changes are kept.
        clock: Seconds since 1970.

    Attributes:
        on_own: Called with each change that was made through this kdm, once, and with the Deployment after it: when the
            write is answered, or when the cluster shows it. It must be quick, and not raise.
    """

    def __init__(self, log: ChangeLog | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self.log = ChangeLog() if log is None else log
        self.on_own: Callable[[CountChange, Deployment], None] = lambda _change, _deployment: None
        self._clock = clock
        self._tracks = Tracks()
        self._flying: dict[DeploymentRef, tuple[OwnWrite, ...]] = {}
        self._lost: dict[DeploymentRef, tuple[OwnWrite, ...]] = {}
        self._unconfirmed: dict[Track, None] = {}
        self._words = Words()

    def of(self, ref: DeploymentRef) -> list[Track]:
        """Return what is known under a name: the object that is there, then those that were, the newest first."""
        return self._tracks.of(ref)

    def unconfirmed(self) -> list[Track]:
        """Return those with own writes that the cluster has not shown yet."""
        return list(self._unconfirmed)

    # What the cluster shows

    def observe(self, ref: DeploymentRef, deployment: Deployment | None) -> None:
        """Take in the newest state of a Deployment, as the cluster has shown it.

        Args:
            ref: Which one.
            deployment: Its state; None where it was deleted.
        """
        track = self._tracks.present.get(ref)
        if track is not None and (deployment is None or deployment.uid != track.uid):
            self._retire(track)
            track = None
        if deployment is None:
            return
        if track is None:
            track = self._tracks.begin(ref, deployment.uid)
        track.labels = deployment.labels
        if track.held or self._is_undecided(track, deployment):
            track.held = (*track.held, (deployment, frozenset(self._flying.get(ref, ()))))
            if len(track.held) > HELD:
                self._release(track, all_of_them=True)
        else:
            self._advance(track, deployment)

    def _is_undecided(self, track: Track, after: Deployment) -> bool:
        """Return whether an own write that is under way may have made this version."""
        before = track.seen
        if track.ref not in self._flying or any(own.version == after.resource_version for own in track.pending):
            return False
        if before is None:
            return True
        if before.resource_version == after.resource_version:
            return False
        specs = after.generation - before.generation
        if specs not in {0, 1}:
            return True
        return before.replicas.desired != after.replicas.desired and manager_of(after) in MAYBE_OWN

    def _release(self, track: Track, *, all_of_them: bool = False) -> None:
        """Go on with what was held back, as far as the writes have ended that it was held back for."""
        while track.held:
            deployment, writes = track.held[0]
            if not all_of_them and not writes.isdisjoint(self._flying.get(track.ref, ())):
                return
            track.held = track.held[1:]
            self._advance(track, deployment)

    def _advance(self, track: Track, after: Deployment) -> None:
        """Record what happened between what was seen last and now."""
        before, track.seen = track.seen, after
        if before is not None:
            if before.resource_version == after.resource_version:
                return
            if older(after.resource_version, before.resource_version):  # the cluster went back, as after a restore
                self._settle(track)
                track.skipped, track.settled = True, None
        specs = after.generation - before.generation if before is not None else None
        count = before.replicas.desired if before is not None else None
        if track.settled is not None:
            if not older(track.settled.version, after.resource_version):
                return  # what happened until then is recorded
            count, track.settled, track.skipped = track.settled.desired, None, True
        made: list[tuple[CountChange, OwnWrite | None]] = []
        for own in track.take_due(after.resource_version):
            change = made_by(own, count, specs, after)
            if change is not None:
                made.append((change, own))
                count = own.desired
        if count is not None and count != after.replicas.desired:
            made.append(self._by_others(track, count, after))
        self._note(track, after, specs, made)

    def _by_others(self, track: Track, count: int, after: Deployment) -> tuple[CountChange, OwnWrite | None]:
        """Return a change that no answer names: somebody else's, or an own write's whose answer was lost."""
        last, desired = after.last_change, after.replicas.desired
        at = (last.at if last is not None else 0) or int(self._clock())
        found = self._take_lost(track.ref, desired) if manager_of(after) in MAYBE_OWN else None
        if found is not None:
            found.uid = track.uid
            return found.change(count, at, after.resource_version), found
        words = self._words
        manager, actor, reason = (last.manager, last.actor, last.reason) if last is not None else ("", "", "")
        change = CountChange(
            track.ref,
            track.uid,
            at,
            count,
            desired,
            words.once(manager),
            words.once(actor),
            words.once(reason),
            resource_version=after.resource_version,
        )
        return change, None

    def _note(
        self,
        track: Track,
        after: Deployment,
        specs: int | None,
        made: list[tuple[CountChange, OwnWrite | None]],
    ) -> None:
        """Record changes; and that some may be missing, where the generation has counted more of the spec."""
        # Where several changes of the spec come as one, there may be some of the count among them that were not seen.
        seen_all = {len(made)} if made else {0, 1}
        missing = track.skipped or (specs is not None and specs not in seen_all)
        track.skipped = missing and not made
        for change, own in made:
            self._record(track, evolve(change, gap=True) if missing else change)
            if own is not None:
                self._report(own, change, after)
        self._look_unconfirmed(track)

    def _retire(self, track: Track) -> None:
        """A Deployment was deleted."""
        self._tracks.bury(track)
        self._close(track)

    def _close(self, track: Track) -> None:
        """Settle what is left of one that is gone, once the writes have ended that may belong to it."""
        self._release(track)
        if not track.held:
            self._settle(track)
            self._forget_if_empty(track)

    # What this kdm writes

    @contextmanager
    def sending(
        self, ref: DeploymentRef, desired: int, caller: Caller, *, reason: str = "", batch: str = ""
    ) -> Iterator[OwnWrite]:
        """Take note of a write while it is under way, and of how it fails; ``answered`` says that it did not.

        Args:
            ref: Of which Deployment.
            desired: The count.
            caller: For whom.
            reason: Why.
            batch: Of which batch.
        """
        own = self.begin(
            ref, desired, actor=caller.identity.user, reason=reason, request_id=caller.request_id, batch=batch
        )
        try:
            yield own
        except KdmError as error:
            (self.lost if error.written is None else self.failed)(own)
            raise
        except BaseException:
            self.lost(own)
            raise

    def begin(
        self, ref: DeploymentRef, desired: int, *, actor: str, reason: str = "", request_id: str = "", batch: str = ""
    ) -> OwnWrite:
        """Take note of a write that is about to be sent. Ended by ``answered``, ``lost`` or ``failed``."""
        words = self._words
        present = self._tracks.present.get(ref)
        uid = present.uid if present is not None else ""
        own = OwnWrite(ref, desired, words.once(actor), words.once(reason), request_id, words.once(batch), uid)
        self._flying[ref] = (*self._flying.get(ref, ()), own)
        return own

    def answered(self, own: OwnWrite, written: Deployment, previous: int | None, *, exact: bool) -> None:
        """The cluster has stored it.

        Args:
            own: Which write.
            written: The Deployment as it was written.
            previous: The count before, as far as it is known.
            exact: Whether the cluster compared that count.
        """
        if not exact and own.uid and own.uid != written.uid:
            previous = None  # it was another object's count
        own.uid, own.version, own.desired = written.uid, written.resource_version, written.replicas.desired
        own.previous, own.exact, own.at = previous, exact, self._clock()
        track = self._track_of(own, written)
        seen = track.seen.resource_version if track.seen is not None else ""
        if own.version != seen and not older(own.version, seen):
            track.pending = tuple(sorted((*track.pending, own), key=lambda each: (len(each.version), each.version)))
            self._unconfirmed[track] = None
            if previous != own.desired:
                self._report(own, own.change(previous, int(own.at)), written)
            self._bound(track)
        else:
            self._attribute(track, own, written)
        self._end(own)

    def lost(self, own: OwnWrite) -> None:
        """There was no answer: it may have been stored, and may be still."""
        own.at = self._clock()
        for ref, writes in list(self._lost.items()):
            self._lost[ref] = tuple(each for each in writes if each.at + LATE_S > own.at)
            if not self._lost[ref]:
                del self._lost[ref]
        self._lost[own.ref] = (*self._lost.get(own.ref, ()), own)[-self.log.of_each :]
        self._end(own)

    def _take_lost(self, ref: DeploymentRef, desired: int) -> OwnWrite | None:
        """Return the write without an answer that may have made a change."""
        lost = self._lost.get(ref, ())
        found = next((each for each in lost if each.desired == desired and each.at + LATE_S > self._clock()), None)
        if found is not None:
            self._lost[ref] = tuple(each for each in lost if each is not found)
        return found

    def failed(self, own: OwnWrite) -> None:
        """It was not stored."""
        self._end(own)

    def _end(self, own: OwnWrite) -> None:
        """A write is not under way any more: go on with what was held back for it."""
        left = tuple(each for each in self._flying.pop(own.ref) if each is not own)
        if left:
            self._flying[own.ref] = left
        for each in self._tracks.gone.get(own.ref, ()):
            self._close(each)
        track = self._tracks.present.get(own.ref)
        if track is not None:
            self._release(track)

    def _attribute(self, track: Track, own: OwnWrite, written: Deployment) -> None:
        """Say of a change that was recorded before its answer came that it was this write's."""
        for place, change in enumerate(track.changes):
            if change.resource_version == own.version and not change.actor and change.manager in MAYBE_OWN:
                named = evolve(own.change(change.previous, change.at), gap=change.gap, number=change.number)
                track.changes[place] = named
                self._report(own, named, written)

    def _track_of(self, own: OwnWrite, written: Deployment) -> Track:
        found = next((each for each in self.of(own.ref) if each.uid == own.uid), None)
        if found is None:
            found, oldest = self._tracks.expect(own.ref, own.uid, written.labels)
            if oldest is not None:
                self._retire(oldest)
        return found

    def _bound(self, track: Track) -> None:
        """Wait for the cluster to show so many writes, and no more."""
        if track.gone or len(track.pending) > self.log.of_each:
            self._settle(track)
        if len(self._unconfirmed) * self.log.of_each > self.log.limit:
            self._settle(next(iter(self._unconfirmed)))

    def _settle(self, track: Track) -> None:
        """Record own writes as they were answered: the cluster will not show them, or not soon enough."""
        for own in track.take_all():
            track.settled = own
            if own.previous != own.desired:
                self._record(track, evolve(own.change(own.previous, int(own.at)), gap=True))
        self._look_unconfirmed(track)

    def _report(self, own: OwnWrite, change: CountChange, after: Deployment) -> None:
        if not own.reported:
            own.reported = True
            self.on_own(change, after)

    def _record(self, track: Track, change: CountChange) -> None:
        for emptied in self.log.append(track, change):
            assert isinstance(emptied, Track)  # noqa: S101 - there are no others
            self._forget_if_empty(emptied)

    def _forget_if_empty(self, track: Track) -> None:
        if track.gone and not track.changes and track.ref not in self._flying:
            self._tracks.forget(track)

    def _look_unconfirmed(self, track: Track) -> None:
        if not track.pending:
            self._unconfirmed.pop(track, None)
