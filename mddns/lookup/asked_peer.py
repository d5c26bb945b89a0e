"""One peer in a lookup, and how it went with it."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from ..base.model import Peer
from ..directory.peer_memory import Standing, Way

if TYPE_CHECKING:
    from ..codec.answer import Answer
    from ..codec.answer_template import Form, Own
    from ..zone.transfer import TransferIn


class Outcome(enum.Enum):
    """How it went with one peer."""

    PENDING = "pending"
    ANSWERED = "answered"
    REFUSED = "refused"
    SILENT = "silent"


class Ask:
    """One peer in a lookup. ``rtt`` is seconds; ``message`` the last one that counted; ``listed`` how HTTP went."""

    # As most asks have them from beginning to end, which makes thousands of them cheap.
    tried = 0  # how many addresses of the peer's route were asked
    closed: tuple[str, ...] = ()  # those of them that refused
    outcome = Outcome.PENDING
    said: Answer | None = None  # `answer`, where somebody has asked for it
    form: Form | None = None  # where its answer is like others: what it has of its own is in `own`
    own: Own | None = None
    message: bytes | None = None
    sent = 0.0
    resent = False
    wrong = 0  # datagrams that came in answer and were none
    flying = False  # asked a moment ago, and nothing has come of it
    over_tcp: str | None = None  # the address that answered, and wants to be asked over TCP
    transfer: TransferIn | None = None
    rtt: float | None = None
    merged = False
    way: Way | None = None  # not looked up yet
    over_web: str | None = None  # the address that is, or was, asked for /services
    listed = Outcome.PENDING  # whether that was answered with a list

    def __init__(self, peer: Peer, standing: Standing, ident: bytes) -> None:
        self.peer = peer
        self.standing = standing
        self.ident = ident

    @property
    def answer(self) -> Answer | None:
        """What it said."""
        if self.said is None and self.form and self.own:
            self.said = self.form.answer(self.own)
        return self.said

    @answer.setter
    def answer(self, answer: Answer) -> None:
        self.said = answer

    @property
    def open(self) -> tuple[str, ...]:
        """The addresses that were asked and have not refused."""
        asked = self.peer.route[: self.tried]
        return tuple(each for each in asked if each not in self.closed) if self.closed else asked
