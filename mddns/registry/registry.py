"""The services that one process offers.

It only keeps the list: which clients may read it, and on which socket, is decided elsewhere. ``now_ms`` is Unix
time in milliseconds; it is published as ``md.since``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..base.errors import InvalidService
from ..base.model import Endpoint, Peer, Service
from ..base.offer import Key, Offer
from ..base.reach import LOOPBACK, why_unreachable
from ..base.validation import MAX_SERVICES, check_labels
from ..codec.instance_records import instance_label, machine_label
from ..zone.apex import next_serial
from .file_changes import Difference, difference
from .health_verdict import UNCHECKED


class Registration:
    """One offer and the time since when it is offered. ``six``: it is known to accept connections over IPv6 too;
    ``held``: the reason why it is held back, "" while it is offered."""

    __slots__ = ("held", "key", "made", "offer", "since", "six")

    def __init__(self, key: Key, offer: Offer, since: int) -> None:
        self.key = key
        self.offer = offer
        self.since = since
        self.six = False
        self.held = UNCHECKED if offer.check else ""
        self.made: tuple[Offer, bool, str, Peer, str, Service] | None = None  # the service, after what it was made from


class Registry:
    """The services that this process offers as node `me`. ``serial`` changes with every change."""

    def __init__(self, me: Peer, shares_name: bool, now_ms: int, last_serial: int | None = None) -> None:
        """`shares_name`: another node has our machine's name, so instance labels cannot be made of it."""
        self._me = me
        self._machine = "" if shares_name else machine_label(me.name)
        self._registrations: dict[Key, Registration] = {}
        self.serial = next_serial(last_serial, now_ms)

    @property
    def me(self) -> Peer:
        return self._me

    @property
    def machine(self) -> str:
        """The machine part of our instance labels; "" if our machine's name cannot be used for them."""
        return self._machine

    def moved(self, me: Peer, shares_name: bool, now_ms: int) -> None:
        """Takes new addresses or a new name of our own node."""
        machine = "" if shares_name else machine_label(me.name)
        if (me, machine) != (self._me, self._machine):
            self._me, self._machine = me, machine
            self._changed(now_ms)

    def advertise(self, offer: Offer, now_ms: int) -> Registration:
        """Adds an offer. If (name, endpoint, protocol) is known, it is updated in place and keeps its `since`."""
        self._check_reach(offer)
        key = offer.key(self._me.addresses[0])
        standing = self._registrations.get(key)
        if standing is None:
            if len(self._registrations) >= MAX_SERVICES:
                raise InvalidService(f"service {offer.name!r}: this host offers {MAX_SERVICES} services already")
            standing = self._registrations[key] = Registration(key, offer, now_ms)
            self._changed(now_ms)
        elif standing.offer != offer:
            _change(standing, offer)
            self._changed(now_ms)
        return standing

    def replace(self, offers: Iterable[Offer], now_ms: int) -> Difference:
        """Replaces all offers by `offers`. Unchanged ones are not touched, changed ones are updated in place.

        All or nothing: raises InvalidService if two are the same service on this node, or if there are too many.
        """
        wanted: dict[Key, Offer] = {}
        for offer in offers:
            self._check_reach(offer)
            other = wanted.setdefault(offer.key(self._me.addresses[0]), offer)
            if other is not offer:
                first, second = other.where or "another", f"{offer.where}: " if offer.where else ""
                raise InvalidService(
                    f"{second}{offer.name!r} has the same address as that of {first}; remove one of them"
                )
        if len(wanted) > MAX_SERVICES:
            raise InvalidService(f"{len(wanted)} services; a host offers at most {MAX_SERVICES}")
        change = difference({key: each.offer for key, each in self._registrations.items()}, wanted)
        for key in change.withdrawn:
            del self._registrations[key]
        for key, (_, offer) in change.changed.items():
            _change(self._registrations[key], offer)
        for key, offer in change.added.items():
            self._registrations[key] = Registration(key, offer, now_ms)
        if change:
            self._changed(now_ms)
        return change

    def _check_reach(self, offer: Offer) -> None:
        """InvalidService for an address that other nodes cannot reach. Loopback is allowed if we are on loopback."""
        why = offer.out_of_reach(on_loopback=why_unreachable(self._me.addresses[0]) == LOOPBACK)
        if why:
            raise InvalidService(f"{offer.where}: {why}" if offer.where else why)

    def relabel(self, registration: Registration, labels: Mapping[str, str], now_ms: int) -> None:
        """Replaces the labels of a registration. KeyError if it is withdrawn already."""
        if self._registrations.get(registration.key) is not registration:
            raise KeyError(f"{registration.offer.name} on port {registration.offer.port} is no longer advertised")
        changed = replace(registration.offer, labels=check_labels(labels))
        if changed != registration.offer:
            registration.offer = changed
            self._changed(now_ms)

    def answers_over_six(self, registration: Registration, answers: bool, now_ms: int) -> None:
        """Records whether the service accepts connections at our IPv6 address."""
        if registration.six != answers and self._registrations.get(registration.key) is registration:
            registration.six = answers
            self._changed(now_ms)

    def checked(self, registration: Registration, held: str, now_ms: int) -> None:
        """Takes the verdict of a check: why the service is held back, or "" to offer it, with `since` set to now."""
        if registration.held == held or self._registrations.get(registration.key) is not registration:
            return
        if not held:
            registration.since = now_ms
        registration.held = held
        self._changed(now_ms)

    def withdraw(self, registration: Registration, now_ms: int) -> bool:
        """Removes a registration. False if it was removed already."""
        if self._registrations.get(registration.key) is not registration:
            return False
        del self._registrations[registration.key]
        self._changed(now_ms)
        return True

    def unlist(self, port: int, now_ms: int) -> list[Registration]:
        """Removes the registrations of this node's own `port`, and returns them. KeyError if there are none."""
        mine = [each for each in self._registrations.values() if each.offer.port == port and each.offer.address is None]
        if not mine:
            raise KeyError(f"no service of this registry is on port {port}")
        for registration in mine:
            del self._registrations[registration.key]
        self._changed(now_ms)
        return mine

    def registrations(self) -> list[Registration]:
        """All registrations, held back or not."""
        return list(self._registrations.values())

    def services(self) -> list[Service]:
        """The services that are offered."""
        return [service for service in self.everything() if not service.held]

    def held_back(self) -> list[Service]:
        """The services that are held back because their check has not passed."""
        return [service for service in self.everything() if service.held]

    def everything(self) -> list[Service]:
        """The services of all registrations, held back or not."""
        found = map(self.service, self._registrations.values())
        # Our node may have moved to an address that was also offered explicitly: these are one service now.
        return list({service.key: service for service in found}.values())

    def _changed(self, now_ms: int) -> None:
        self.serial = next_serial(self.serial, now_ms)

    def service(self, registration: Registration) -> Service:
        """The service of one registration, with our node's name and addresses."""
        made = registration.made
        # Cached: if one of a thousand services changes, all of them are rendered again.
        if made and made[:5] == (registration.offer, registration.six, registration.held, self._me, self._machine):
            return made[5]
        service = self._make(registration)
        registration.made = registration.offer, registration.six, registration.held, self._me, self._machine, service
        return service

    def _make(self, registration: Registration) -> Service:
        offer, me = registration.offer, self._me
        # A program that listens on 0.0.0.0 must not be offered at IPv6, so IPv6 has to be tested or asked for.
        own = tuple(
            address for address in me.addresses if ":" not in address or registration.six or ":" in me.addresses[0]
        )
        address = offer.address or me.addresses[0]
        local = address in me.addresses
        return Service(
            name=offer.name,
            labels=offer.labels,
            endpoint=Endpoint.of(address, offer.port),
            addresses=offer.addresses or (own if offer.address is None else (address,)),
            protocol=offer.protocol,
            priority=offer.priority,
            weight=offer.weight,
            host=me.name or None,
            owner=me.owner,
            tags=me.tags,
            via=me.id,
            remote=not local,
            since=registration.since,
            instance=instance_label(self._machine if local else "", address, offer.port, offer.protocol),
            srv=offer.srv,
            held=registration.held,
        )


def _change(registration: Registration, offer: Offer) -> None:
    """Replaces the offer of a registration. A new check starts as not passed; without a check it is not held back."""
    if registration.offer.check != offer.check:
        registration.held = UNCHECKED if offer.check else ""
    registration.offer = offer
