"""The network as one zone: one state of the merged view under one serial, and the steps from state to state.

A forwarder is the primary server of this zone (RFC 9499 6). The serial changes only when a record changes: a new
merge with the same result is the same zone to the secondaries.
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
    """The network's zone under the apex `name`, as served by a forwarder that answers at `addresses`."""

    def __init__(self, name: Name, addresses: Iterable[str], unix_ms: int, last: int | None = None) -> None:
        """`last` is the serial of an earlier run; the new serial must be greater."""
        addresses = tuple(dict.fromkeys(addresses))
        # Secondaries pass these addresses on, so loopback addresses are published only if there are no others.
        self._addresses = tuple(each for each in addresses if not ip_address(each).is_loopback) or addresses
        self.name = name
        self.me = Peer("", self._addresses)
        self._more: Mapping[Labels, Node] = {}
        self.apex = self._apex(next_serial(last, unix_ms))
        self.zone = Zone(name.wire, ())
        self.journal = Journal()
        self.known = False  # whether there is a state yet; until then there is nothing to transfer

    @property
    def serial(self) -> int:
        """The serial of the current state."""
        return self.apex.serial

    def services(self) -> list[Service]:
        """The services of the forwarder itself: always none."""
        return []

    held_back = services

    def take(self, zone: Zone, unix_ms: int, more: Mapping[Labels, Node] | None = None) -> bool:
        """Takes `zone` as the network's services, and `more` as further nodes. Returns whether the state changed."""
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
