"""The rules of the watch, as data: what happens in which phase, and what follows.

The state machine runs on :data:`RULES`; the documentation's table and diagram are made from it. The rules are those of
client-go's Reflector (v0.36); where they differ, or need a reason, the row says why.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple


class Phase(enum.Enum):
    """What kind of request comes next, or is under way."""

    WATCH_LIST = "watch-list"
    LIST = "list"
    WATCH = "watch"


class Situation(enum.Enum):
    """What can happen. The values are what the documentation says."""

    START = "kdm starts, or the cluster's address changes"
    PAGE_READ = "a page is read, more follow"
    STATE_READ = "the complete state is read"
    STATE_OLDER = "the complete state is older than the version asked for"
    PAGE_EXPIRED = "410 on a later page"
    VERSION_UNAVAILABLE = "410, or the version is too large for the server"
    EXPIRED = "410, after something arrived"
    EXPIRED_AGAIN = "410, and nothing arrived since the last list"
    UNREACHED = "no answer"
    THROTTLED = "429"
    FAILED = "any other failure"
    BOOKMARK_MISSING = "the bookmark that ends the state does not come"
    SILENT = "silence"
    UNANSWERED = "two watches in a row are never answered"
    ENDED = "it ends in order"
    ENDED_EARLY = "it ends in order in less than 1 s, with events"
    BROKEN = "it breaks off"
    BROKEN_EARLY = "it breaks off in less than 1 s, with events"
    ENDED_AT_ONCE = "it ends in less than 1 s, without an event"
    RELIST_DUE = "a relist is due"
    WENT_BACK = "the cluster's state went back"
    MISSED = "an event does not fit what is held"
    UNDECODABLE = "an object cannot be decoded"


class Then(enum.Enum):
    """What follows. The values are what the documentation says."""

    NEXT_PAGE = "read the next page"
    FOLLOW = "the stream goes on as a watch"
    WATCH = "watch from the last version"
    AGAIN = "the same again"
    FULL_LIST = "one list without a limit"
    LIST = "list"
    RELIST = "relist"
    RELIST_SOON = "go on; a relist is due soon, and ever later if it does not help"
    RELIST_AT_ONCE = "a relist is due at once, or soon if one was within a minute"


class Rule(NamedTuple):
    """One row.

    Attributes:
        phases: In which phases.
        situation: What happens.
        then: What follows.
        backoff: Whether to wait first.
        newest: Whether the next list asks for the newest state (resourceVersion "") and not for one that was seen.
        reason: What the metrics call the end of the watch, and the relist that follows; "" for the reason there was.
        why: The reason for the row, for the documentation.
    """

    phases: tuple[Phase, ...]
    situation: Situation
    then: Then
    backoff: bool = False
    newest: bool = False
    reason: str = ""
    why: str = ""


_ANY = tuple(Phase)
_READS = (Phase.WATCH_LIST, Phase.LIST)
_WATCH_LIST, _LIST, _WATCH = ((each,) for each in Phase)
_S, _T = Situation, Then

# fmt: off
RULES: Final[tuple[Rule, ...]] = (
    Rule(_ANY, _S.START, _T.RELIST),

    Rule(_LIST, _S.PAGE_READ, _T.NEXT_PAGE),
    Rule(_LIST, _S.STATE_READ, _T.WATCH),
    Rule(_WATCH_LIST, _S.STATE_READ, _T.FOLLOW),
    Rule(_READS, _S.STATE_OLDER, _T.RELIST, newest=True, why="a server that ignores the version asked for may be "
         "behind; a read of the newest state cannot be"),
    Rule(_LIST, _S.PAGE_EXPIRED, _T.FULL_LIST),
    Rule(_READS, _S.VERSION_UNAVAILABLE, _T.AGAIN, newest=True, why="once; if that fails the same way, it is a failure "
         "like any other"),
    Rule(_WATCH_LIST, _S.UNREACHED, _T.AGAIN, backoff=True),
    Rule(_WATCH_LIST, _S.THROTTLED, _T.AGAIN, backoff=True),
    Rule(_WATCH_LIST, _S.FAILED, _T.LIST, why="not every server has watch-lists"),
    Rule(_WATCH_LIST, _S.BOOKMARK_MISSING, _T.LIST, why="and no watch-list for an hour"),
    Rule(_WATCH_LIST, _S.SILENT, _T.AGAIN, backoff=True),
    Rule(_WATCH_LIST, _S.UNANSWERED, _T.RELIST, backoff=True, why="by a list: what holds watches back may let lists "
         "through"),
    Rule(_LIST, _S.UNREACHED, _T.RELIST, backoff=True),
    Rule(_LIST, _S.THROTTLED, _T.RELIST, backoff=True),
    Rule(_LIST, _S.FAILED, _T.RELIST, backoff=True),
    Rule(_LIST, _S.SILENT, _T.RELIST, backoff=True),

    Rule(_WATCH, _S.ENDED, _T.WATCH, reason="timeout"),
    Rule(_WATCH, _S.ENDED_EARLY, _T.WATCH, backoff=True, reason="timeout", why="there is progress, but not in a busy "
         "loop"),
    Rule(_WATCH, _S.BROKEN, _T.WATCH, reason="broken"),
    Rule(_WATCH, _S.BROKEN_EARLY, _T.WATCH, backoff=True, reason="broken"),
    Rule(_WATCH, _S.ENDED_AT_ONCE, _T.RELIST, backoff=True, reason="very-short", why="lists may work where watches do "
         "not"),
    Rule(_WATCH, _S.UNREACHED, _T.WATCH, backoff=True, reason="unreached"),
    Rule(_WATCH, _S.THROTTLED, _T.WATCH, backoff=True, reason="throttled"),
    Rule(_WATCH, _S.EXPIRED, _T.RELIST, reason="expired"),
    Rule(_WATCH, _S.EXPIRED_AGAIN, _T.RELIST, backoff=True, reason="expired", why="no busy loop of lists"),
    Rule(_WATCH, _S.FAILED, _T.RELIST, backoff=True, reason="error", why="after a StoreReadError, the object that etcd "
         "cannot read is gone from the list"),
    Rule(_WATCH, _S.SILENT, _T.WATCH, reason="silent"),
    Rule(_WATCH, _S.UNANSWERED, _T.RELIST, backoff=True, reason="silent", why="by a list, as above"),
    Rule(_WATCH, _S.RELIST_DUE, _T.RELIST, why="for the reason that made it due"),

    Rule(_ANY, _S.WENT_BACK, _T.RELIST_AT_ONCE, newest=True, reason="went-back", why="the cluster was restored from a "
         "backup; ADR 0016 says what shows it"),
    Rule(_ANY, _S.MISSED, _T.RELIST_SOON, reason="missed"),
    Rule(_WATCH, _S.UNDECODABLE, _T.RELIST_SOON, reason="undecodable"),
)
# fmt: on

_BY_PHASE: Final = {(phase, rule.situation): rule for rule in RULES for phase in rule.phases}


def rule_for(phase: Phase, situation: Situation) -> Rule:
    """Return the row for what happens in a phase. There is exactly one for whatever can happen in it."""
    return _BY_PHASE[phase, situation]
