"""The types of answers that the responder returns to the servers, which own the sockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from itertools import chain


class Messages:
    """The messages of a zone transfer. The first is made already, the others while the caller iterates; only once."""

    __slots__ = ("_rest", "alone", "first")

    def __init__(self, messages: Iterator[bytes], *, alone: bool = False) -> None:
        """`messages` must have at least one message; `alone` says that it is the only one."""
        self.first = next(messages)
        self.alone = alone
        self._rest = messages

    def __iter__(self) -> Iterator[bytes]:
        return chain((self.first,), self._rest)


class Later:
    """A zone transfer that can only begin later (only over TCP)."""

    __slots__ = ("answer",)

    def __init__(self, answer: Awaitable[bytes | Messages]) -> None:
        self.answer = answer


# One message, several messages (only over TCP), one message later, or no answer.
Reaction = bytes | Messages | Awaitable[bytes] | None
# Its parameters are the message, the address of the client, and whether it came over TCP.
Answering = Callable[[bytes, str, bool], Reaction | Later]
