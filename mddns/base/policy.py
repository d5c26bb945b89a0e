"""What may enter the directory, and who may ask for merged answers. Asked in one place each."""

from __future__ import annotations

from typing import Final

from .grammar import MAX_LABEL_OCTETS, MAX_SERVICE_LABELS
from .model import Peer, Service, Snapshot

MAX_FROM_PEER: Final = 1000  # services that one peer may tell of


class Policy:
    """The default: everyone on the network may say everything, at an address that services can have.

    An address that is not the peer's own is kept and marked ``remote`` before it comes here;
    ``remote=False`` refuses such services.
    """

    def __init__(self, *, remote: bool = True) -> None:
        self._remote = remote

    def admit(self, service: Service, peer: Peer) -> bool:
        """Whether `service`, as told by `peer`, enters the directory."""
        if service.remote and not self._remote:
            return False
        labels = service.labels
        text = "".join(labels) + "".join(labels.values())
        # An octet that is no UTF-8 comes as one character, which is replaced by one octet.
        octets = 2 * len(labels) + (len(text) if text.isascii() else len(text.encode("utf-8", "replace")))
        return len(labels) <= MAX_SERVICE_LABELS and octets <= MAX_LABEL_OCTETS


def who_may_ask(snapshot: Snapshot) -> frozenset[str]:
    """The addresses that get merged answers: our own, and those of the network's members."""
    members = (peer for peer in snapshot.everyone() if peer.member)
    return frozenset(address for peer in members for address in peer.addresses)
