"""The network as one zone: one state of the merged view under one serial, and the steps from state to state.

A forwarder is primary server of it (RFC 9499 6). The serial moves when a record does, and with nothing else: what is
merged anew, with the same outcome, is the same zone to its secondaries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from ..base.model import Peer, Service
from ..base.names import Name
from .apex import Apex, next_serial
from .journal import Journal, difference
from .zone import Labels, Node, Zone


class MergedZone:
    """What a forwarder that answers at `addresses` says of the network under the apex `name`."""

    def __init__(self, name: Name, addresses: Iterable[str], unix_ms: int, last: int | None = None) -> None:
        """`last` is the serial behind which this one has to lie: that of an earlier run."""
        addresses = tuple(dict.fromkeys(addresses))
        # Secondaries tell others of them: the loopback's are named where there are no others.
        self._addresses = tuple(each for each in addresses if not ip_address(each).is_loopback) or addresses
        self.name = name
        self.me = Peer("", self._addresses)
        self._more: Mapping[Labels, Node] = {}
        self.apex = self._apex(next_serial(last, unix_ms))
        self.zone = Zone(name.wire, ())
        self.journal = Journal()
        self.known = False  # whether there is a state yet; before, there is nothing to be transferred

    @property
    def serial(self) -> int:
        """That of its state."""
        return self.apex.serial

    def services(self) -> list[Service]:
        """Those of the forwarder itself: none."""
        return []

    held_back = services

    def take(self, zone: Zone, unix_ms: int, more: Mapping[Labels, Node] | None = None) -> bool:
        """The network's services are those of `zone` now, and `more` stands beside them; whether that makes another
        state."""
        if self.known and zone is self.zone and more is None:
            return False
        self._more = more or {}
        after = self._apex(next_serial(self.serial, unix_ms))
        if self.known:
            step = difference((self.apex, self.zone), (after, zone))
            self.zone = zone
            if not step.deleted and not step.added:
                return False
            self.journal.add(step)
        self.apex, self.zone, self.known = after, zone, True
        return True

    def _apex(self, serial: int) -> Apex:
        return Apex(self.name, serial, self._addresses, self._more)
