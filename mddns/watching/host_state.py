"""The state of one watched host, apart from its services."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Final

from ..base.model import Peer, Service
from ..base.names import Name
from .mirror_zone import MirrorCopy, State, Words
from .push_client import PushClient

SESSION_AGAIN: Final = 0.05  # seconds until the session after one that ended; doubles up to SESSION_AGAIN_AT_MOST
SESSION_AGAIN_AT_MOST: Final = 30.0


class HostState:
    """One host. Times are those of the event loop, unless a comment names another clock."""

    def __init__(self, peer: Peer, apex: Name, now: float) -> None:
        self.peer = peer
        self.copy = MirrorCopy(apex)
        self.words = Words()
        self.next = now  # when it is queried again
        self.polled = False  # whether a lookup of it has ended
        self.busy = False  # whether a lookup of it runs
        self.heard = False  # whether its current state is known
        self.heard_at = -math.inf  # when its state came from its own answer, not from a mirror
        self.told_at = -math.inf  # when its services were last taken over, by the directory's clock
        self.spoke = False  # whether it ever answered, to us or to a mirror
        self.unanswered = 0
        self.pause = 0.0
        self.left_until = now  # it is not looked up before this time
        self.probing = False
        self.session: PushClient | None = None
        self.task: asyncio.Task[None] | None = None
        self.session_from = now  # no session begins before this time
        self.session_pause = SESSION_AGAIN
        self.serial: int | None = None  # of the mirror's copy of its zone, in the mirror's last state
        self.relayed: tuple[State | None, Sequence[Service]] | None = None  # the mirror's last state of it
