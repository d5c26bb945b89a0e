"""What a message is answered with, between those who decide and those who hold the sockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from itertools import chain


class Messages:
    """The messages of a transfer, of which only the first is made already; all others when they are taken, once."""

    __slots__ = ("_rest", "alone", "first")

    def __init__(self, messages: Iterator[bytes], *, alone: bool = False) -> None:
        """There is one at least; `alone`: there are no others."""
        self.first = next(messages)
        self.alone = alone
        self._rest = messages

    def __iter__(self) -> Iterator[bytes]:
        return chain((self.first,), self._rest)


class Later:
    """A transfer that can only begin later (TCP alone)."""

    __slots__ = ("answer",)

    def __init__(self, answer: Awaitable[bytes | Messages]) -> None:
        self.answer = answer


# Octets, several messages (TCP alone), octets later, or nothing.
Reaction = bytes | Messages | Awaitable[bytes] | None
# By message, address of whoever sent it, and whether over TCP.
Answering = Callable[[bytes, str, bool], Reaction | Later]
