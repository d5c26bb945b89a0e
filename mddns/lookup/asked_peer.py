"""The state of one peer in a lookup."""

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
    """The result of querying one peer."""

    PENDING = "pending"
    ANSWERED = "answered"
    REFUSED = "refused"
    SILENT = "silent"


class Ask:
    """One peer in a lookup. ``rtt`` is seconds; ``message`` the last valid one; ``listed`` the result of HTTP."""

    # Class attributes are the defaults that most asks keep to the end: so thousands of asks are cheap.
    tried = 0  # how many addresses of the peer's route were queried
    closed: tuple[str, ...] = ()  # those of them that refused
    outcome = Outcome.PENDING
    said: Answer | None = None  # `answer`, once it was decoded
    form: Form | None = None  # set if its answer has the form of other answers: `own` is what differs
    own: Own | None = None
    message: bytes | None = None
    sent = 0.0
    resent = False
    wrong = 0  # datagrams from it that were not valid answers
    flying = False  # counted as in flight: queried a moment ago, without a response yet
    over_tcp: str | None = None  # the address that answered and must be queried over TCP
    transfer: TransferIn | None = None
    rtt: float | None = None
    merged = False
    way: Way | None = None  # None: not looked up yet
    over_web: str | None = None  # the address that /services is or was requested from
    listed = Outcome.PENDING  # whether that was answered with a list

    def __init__(self, peer: Peer, standing: Standing, ident: bytes) -> None:
        self.peer = peer
        self.standing = standing
        self.ident = ident

    @property
    def answer(self) -> Answer | None:
        """The answer of the peer, None without one."""
        if self.said is None and self.form and self.own:
            self.said = self.form.answer(self.own)
        return self.said

    @answer.setter
    def answer(self, answer: Answer) -> None:
        self.said = answer

    @property
    def open(self) -> tuple[str, ...]:
        """The addresses that were queried and have not refused."""
        asked = self.peer.route[: self.tried]
        return tuple(each for each in asked if each not in self.closed) if self.closed else asked
