"""A host that is watched: what is known of it beside what it offers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Final

from ..base.model import Peer, Service
from ..base.names import Name
from .mirror_zone import MirrorCopy, State, Words
from .push_client import PushClient

SESSION_AGAIN: Final = 0.05  # seconds until a session that ended is begun anew; doubles, to
SESSION_AGAIN_AT_MOST: Final = 30.0


class HostState:
    """One host. Times are the event loop's."""

    def __init__(self, peer: Peer, apex: Name, now: float) -> None:
        self.peer = peer
        self.copy = MirrorCopy(apex)
        self.words = Words()
        self.next = now  # when it is asked again
        self.polled = False  # whether a lookup has ended
        self.busy = False  # in a lookup under way
        self.heard = False  # whether it is known by now what it is
        self.heard_at = -math.inf  # when we found that out ourselves
        self.told_at = -math.inf  # when its word was last taken over, by the directory's clock
        self.spoke = False  # whether it ever answered
        self.unanswered = 0
        self.pause = 0.0
        self.left_until = now  # not looked up before
        self.probing = False
        self.session: PushClient | None = None
        self.task: asyncio.Task[None] | None = None
        self.session_from = now  # not before
        self.session_pause = SESSION_AGAIN
        self.serial: int | None = None  # of what a mirror said last, where it had a copy
        self.relayed: tuple[State | None, Sequence[Service]] | None = None  # what a mirror said of it last
