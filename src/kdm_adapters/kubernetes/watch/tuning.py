"""The watch cache's numbers."""

from __future__ import annotations

from attrs import frozen


@frozen
class Tuning:
    """The watch cache's numbers. The defaults suit a real cluster; tests shorten them.

    Attributes:
        watch_list: Whether to try watch-lists at all.
        page_size: Deployments a page of a list (client-go's pager).
        min_watch_timeout_s: Watches are asked to last from this to twice this, in seconds, so that the clients of a
            restarted API server do not all come back at once.
        silence_s: A stream without a byte for this long is dead, in seconds: a bookmark is due every 60 s.
        watch_list_deadline_s: How long a watch-list may bring nothing before its closing bookmark, in seconds.
            (client-go only warns: kubernetes/kubernetes#140890.) Initial events extend it, a trickle of later ones
            does not.
        verify_every_s: How often to ask the cluster how far it has come while that is not known, in seconds.
    """

    watch_list: bool = True
    page_size: int = 500
    min_watch_timeout_s: int = 300
    silence_s: float = 70.0
    watch_list_deadline_s: float = 10.0
    verify_every_s: float = 5.0
