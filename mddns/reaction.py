"""What a message is answered with, between those who decide and those who hold the sockets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable


class Later:
    """A transfer that can only begin later (TCP alone)."""

    __slots__ = ("answer",)

    def __init__(self, answer: Awaitable[bytes | tuple[bytes, ...]]) -> None:
        self.answer = answer


# Octets, several messages (TCP alone), octets later, or nothing.
Reaction = bytes | tuple[bytes, ...] | Awaitable[bytes] | None
# By message, address of whoever sent it, and whether over TCP.
Answering = Callable[[bytes, str, bool], Reaction | Later]
