"""Which services may enter the directory, and which addresses may query for merged answers."""

from __future__ import annotations

from typing import Final

from .model import Peer, Service, Snapshot
from .validation import MAX_LABEL_OCTETS, MAX_SERVICE_LABELS

MAX_FROM_PEER: Final = 1000  # services of one peer


class Policy:
    """The default policy: every peer may offer every service within the limits.

    The caller has marked a service ``remote`` if its address is not the peer's own;
    ``remote=False`` refuses such services.
    """

    def __init__(self, *, remote: bool = True) -> None:
        self._remote = remote

    def admit(self, service: Service, peer: Peer) -> bool:
        """Whether `service`, offered by `peer`, enters the directory."""
        if service.remote and not self._remote:
            return False
        labels = service.labels
        text = "".join(labels) + "".join(labels.values())
        # An octet that is not UTF-8 is one character here (a surrogate), and "replace" makes one octet of it.
        octets = 2 * len(labels) + (len(text) if text.isascii() else len(text.encode("utf-8", "replace")))
        return len(labels) <= MAX_SERVICE_LABELS and octets <= MAX_LABEL_OCTETS


def who_may_ask(snapshot: Snapshot) -> frozenset[str]:
    """Returns the addresses that get merged answers: our own, and those of the network's members."""
    members = (peer for peer in snapshot.everyone() if peer.member)
    return frozenset(address for peer in members for address in peer.addresses)
