"""A zone made of services: which names exist, and which RRsets each name has.

The same code renders a registry's own zone and the merged view of a network. Records are rendered only when a query
asks for them, so the cost of a query depends on the records at its name, not on the size of the zone. The apex's own
records (SOA, NS) belong to the responder and are in :mod:`mddns.zone.apex`.

A query in A-labels (RFC 5890) gets a response with A-labels in every name: clients that use them accept no other names.

A *view* such as ``prod._env`` is the same zone again with only the services that carry this label. It has its own
origin, and the targets of its SRV records are below that origin.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Final

from ..base.leader import leader
from ..base.model import Service, fold, replace
from ..base.names import MAX_NAME
from ..codec.instance_records import address_octets, instance_label, instance_txt, labels_txt, srv_octets
from ..dns.message import AAAA, PTR, SRV, TXT, A
from ..dns.writer import RR, Rdata, RRset

MAX_VIEW_DEPTH: Final = 4
MAX_HELD: Final = 128  # services that ``_held`` lists
MAX_VIEWS: Final = 64  # kept at a time, for one zone
# The browsing domains: recommended, default, and for programs with no domain configured (RFC 6763 11).
_BROWSING: Final = (b"b", b"db", b"lb")
_NO_VIEW: Final = frozenset((b"tcp", b"udp", b"dns-sd", b"list"))
_ACE: Final = b"xn--"  # the prefix of A-labels
_KEY_OCTETS: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-")

Labels = tuple[bytes, ...]
Pair = tuple[bytes, bytes]
Group = Sequence[tuple[bytes, RRset]]  # pairs of owner and RRset
Groups = Callable[[], Iterable[Group]]  # made when needed: a long list is often cut short


class Node:
    """The RRsets at one existing name. Without RRsets it is an empty non-terminal (RFC 8499)."""

    __slots__ = ("attached", "rrsets", "whole")

    def __init__(
        self, rrsets: Iterable[RRset] = (), attached: Mapping[int, Groups] | None = None, whole: bool = False
    ) -> None:
        """`attached` are the additional records by query type: one group for each RDATA, so that a service's labels
        and addresses are sent together or not at all. `whole`: the RRsets may not be sent without them."""
        self.rrsets = {rrset.rtype: rrset for rrset in rrsets if rrset.rdatas}
        self.attached = attached or {}
        self.whole = whole


ENT: Final = Node()


class Placed:
    """A service with its instance label in this zone."""

    __slots__ = ("_pairs", "aliases", "instance", "key", "label", "name", "service")

    def __init__(self, service: Service, instance: str) -> None:
        self.service = service
        self.label = instance
        self.name = service.name.encode()
        self.instance = instance.encode("utf-8", "surrogateescape")
        self.key = self.instance.lower()
        self.aliases = tuple(b"_" + alias.encode().lower() for alias in service.srv)
        self._pairs: frozenset[Pair] | None = None

    @property
    def pairs(self) -> frozenset[Pair]:
        """The label pairs whose views contain this service."""
        if self._pairs is None:
            found = (view_pair(key, value) for key, value in self.service.labels.items())
            self._pairs = frozenset(filter(None, found))
        return self._pairs

    def rrsets(self, target: bytes) -> tuple[RRset, ...]:
        """The SRV, TXT, A and AAAA RRsets of this instance; its SRV record points at `target`."""
        service = self.service
        return (
            RRset(SRV, ((srv_octets(service), target),)),
            RRset(TXT, ((instance_txt(service), None),)),
            *address_rrsets((service,)),
        )


def address_rrsets(services: Iterable[Service]) -> Iterator[RRset]:
    """The A and AAAA RRsets of `services`, each address once."""
    addresses = dict.fromkeys(address for service in services for address in service.addresses)
    for rtype, six in ((A, False), (AAAA, True)):
        rdatas = tuple((address_octets(address), None) for address in addresses if (":" in address) is six)
        if rdatas:
            yield RRset(rtype, rdatas)


def view_pair(key: str, value: str) -> Pair | None:
    """The label pair in lower case, as in the name of its view; None if the pair has no view."""
    k, v = (text.encode("utf-8", "surrogateescape").lower() for text in (key, value))
    if k in _NO_VIEW or not 0 < len(k) <= 62 or not _KEY_OCTETS.issuperset(k):
        return None
    return (k, v) if 0 < len(v) <= 63 and not v.startswith(b"_") else None


def place(services: Iterable[Service], before: Iterable[Placed] = ()) -> list[Placed]:
    """Gives each service a unique label. If two would share one, or it is a wildcard, the label is the address.

    A service that has not changed since `before` keeps its object.
    """
    known = {id(placed.service): placed for placed in before}
    told: dict[tuple[str, str], list[Service]] = {}
    for service in services:
        told.setdefault((fold(service.name), fold(service.instance)), []).append(service)
    # On a secondary, "*" would answer for every name at its level that does not exist (RFC 4592).
    alone = {key: sharing[0] for key, sharing in told.items() if key[1] not in ("", "*") and len(sharing) == 1}
    others = [service for key, sharing in told.items() if key not in alone for service in sharing]
    placed = []
    for service in others:
        label = instance_label("", service.endpoint.address, service.endpoint.port, service.protocol)
        # A peer may have given an instance the address label of another instance: it gets its own address label, too.
        if usurper := alone.pop((fold(service.name), label), None):
            others.append(usurper)
        placed.append(Placed(service, label))
    for service in alone.values():
        same = known.get(id(service))
        placed.append(same if same and same.label == service.instance else Placed(service, service.instance))
    return placed


class Zone:
    """The names below `origin` (uncompressed wire format), made from `services`."""

    def __init__(
        self,
        origin: bytes,
        services: Iterable[Service],
        held: Iterable[Service] = (),
        before: Zone | None = None,
    ) -> None:
        """`held` are the services that are held back: only ``_held`` lists them. `before` is the previous zone; it
        makes this faster if most services are the same."""
        self.origin = origin
        self._placed: list[Placed] = place(services, before._placed if before else ())
        # Without labels, and few enough for one message over TCP.
        self._held = place(replace(service, labels={}, srv=(), since=None) for service in islice(held, MAX_HELD))
        self._path: tuple[Pair, ...] = ()
        # Shared by all views of the zone: views can be chained, so a limit for each of them would not limit the whole.
        self._views: dict[tuple[Pair, ...], Zone] = {}

    @cached_property
    def _by_name(self) -> dict[bytes, list[Placed]]:
        found: dict[bytes, list[Placed]] = {}
        for placed in sorted(self._placed, key=lambda each: (each.service.priority, each.instance)):
            if len(placed.instance) + len(placed.name) + 2 + 6 + len(self.origin) <= MAX_NAME:
                found.setdefault(placed.name.lower(), []).append(placed)
        return found

    @cached_property
    def _by_a_label(self) -> dict[bytes, dict[bytes, None]]:
        """The names by their IDNA A-label (RFC 5890 2.3.2.1): ``CAFÉ`` and ``café`` share one."""
        from encodings.idna import ToASCII  # it loads large tables, and is rarely needed

        found: dict[bytes, dict[bytes, None]] = {}
        for name in self._by_name:
            text = name.decode().lower()
            if not text.isascii():
                # IDNA 2008 and 2003 differ where 2003 replaces a letter, as in "straße" (RFC 5894 7.2).
                found.setdefault(_a_label(name), {})[name] = None
                with contextlib.suppress(UnicodeError):
                    found.setdefault(ToASCII(text).lower(), {})[name] = None
        return found

    def services(self) -> Iterator[Service]:
        """Yields every service, with its instance label in this zone."""
        for placed in self._members():
            yield replace(placed.service, instance=placed.instance.decode("utf-8", "surrogateescape"))

    def records(self) -> Iterator[RR]:
        """Yields every record except those of views and leaders."""
        for each in _BROWSING:
            yield self._wire(each, b"_dns-sd", b"_udp"), PTR, (b"", self.origin)
        for name, group in self._by_name.items():
            yield from self.shared_records(name)
            for placed in group:
                yield from self.records_of(placed)

    def groups(self) -> Mapping[bytes, Sequence[Placed]]:
        """The instances by service name, in lower case."""
        return self._by_name

    def records_of(self, placed: Placed) -> Iterator[RR]:
        """Yields the records that belong to one instance alone, except those of views and leaders."""
        name, protocol = placed.name.lower(), b"_" + placed.service.protocol.encode()
        target = self._target(placed)
        numbers, text, *addresses = placed.rrsets(target)
        owner, typed = self._wire(placed.key, name), self._wire(placed.key, b"_" + name, protocol)
        (srv,), (txt,) = numbers.rdatas, text.rdatas
        yield self._wire(name), SRV, srv
        for rrset in (numbers, text, *addresses):
            for rdata in rrset.rdatas:
                yield owner, rrset.rtype, rdata
        of_type = self._wire(b"_" + name, protocol)
        yield of_type, SRV, srv
        yield of_type, PTR, (b"", self._wire(placed.instance, b"_" + placed.name, protocol))
        yield typed, SRV, srv
        yield typed, TXT, txt
        for alias in dict.fromkeys(placed.aliases):
            yield self._wire(alias, protocol, name), SRV, srv
        yield self._wire(b"_list"), PTR, (b"", target)

    def shared_records(self, name: bytes, of: Sequence[Placed] | None = None) -> Iterator[RR]:
        """Yields the records that all instances of a service name (in lower case) share: TXT, A, AAAA and the PTR of
        types. With `of`, the TXT, A and AAAA records are those of these instances only."""
        group = self._by_name.get(name, ())
        some = group if of is None else of
        owner = self._wire(name)
        for text in dict.fromkeys(labels_txt(placed.service) for placed in some):
            yield owner, TXT, (text, None)
        for rrset in address_rrsets(placed.service for placed in some):
            for rdata in rrset.rdatas:
                yield owner, rrset.rtype, rdata
        types = {placed.service.protocol.encode(): placed.name for placed in group}
        for protocol, shown in types.items():
            yield self._wire(b"_services", b"_dns-sd", b"_udp"), PTR, (b"", self._wire(b"_" + shown, b"_" + protocol))

    def node(self, labels: Labels) -> Node | None:
        """The node at a name, given by its labels before the origin in lower case; None if the name does not exist."""
        if not labels:
            return ENT
        last = labels[-1]
        if not last.startswith(b"_"):
            return self._service_node(labels)
        if last in (b"_tcp", b"_udp"):
            return self._typed_node(labels, last)
        if last == b"_list":
            return self._list_node() if len(labels) == 1 else None
        if labels == (b"_held",) and not self._path:
            return self._held_node()
        return self._view_node(labels, last[1:])

    def _group(self, label: bytes) -> list[Placed]:
        if label.startswith(_ACE):
            return [placed for name in self._by_a_label.get(label, ()) for placed in self._by_name[name]]
        return self._by_name.get(label, [])

    def _service_node(self, labels: Labels) -> Node | None:
        group = self._group(labels[-1])
        if len(labels) == 1 and group:
            pairs = self._pairs(group, labels[-1])
            texts = dict.fromkeys(labels_txt(placed.service) for placed in group)
            return Node(
                (
                    _srv_rrset(pairs),
                    RRset(TXT, tuple((text, None) for text in texts)),
                    *address_rrsets(placed.service for placed in group),
                ),
                {SRV: lambda: self._attachments(pairs)},
            )
        if len(labels) == 1:
            return None
        protocol = labels[-2]
        if protocol in (b"_tcp", b"_udp"):
            typed = [p for p in group if p.service.protocol == protocol[1:].decode()]
            return self._alias_node(typed, labels[:-2], labels[-1])
        if len(labels) > 2:
            return None
        if labels[0] == b"leader":
            return self._leader_node(group, labels[1])
        return self._instance_node(group, labels[0], labels[1], (SRV, TXT, A, AAAA))

    def _leader_node(self, group: list[Placed], name: bytes) -> Node | None:
        leading = leader(placed.service for placed in group)
        placed = next((placed for placed in group if placed.service is leading), None)
        if placed is None:
            return None
        target = self._target(placed, name)
        return Node(placed.rrsets(target), {SRV: lambda: (self._attached(placed, target),)})

    def _alias_node(self, group: list[Placed], labels: Labels, name: bytes) -> Node | None:
        """``_etcd-client._tcp.NAME``, if an instance declared it: some clients ask for such names only (RFC 2782)."""
        if not labels:
            return ENT if any(placed.aliases for placed in group) else None
        pairs = self._pairs([placed for placed in group if placed.aliases and labels[0] in placed.aliases], name)
        if len(labels) > 1 or not pairs:
            return None
        return Node(
            (_srv_rrset(pairs),),
            {SRV: lambda: self._attachments(pairs)},
        )

    def _typed_node(self, labels: Labels, protocol_label: bytes) -> Node | None:
        protocol = protocol_label[1:].decode()
        if labels == (b"_services", b"_dns-sd", b"_udp"):
            return self._types_node()
        if len(labels) == 3 and labels[1:] == (b"_dns-sd", b"_udp") and labels[0] in _BROWSING:
            return Node((RRset(PTR, ((b"", self.origin),)),))
        if len(labels) == 1:
            exists = protocol == "udp" or any(p.service.protocol == "tcp" for p in self._placed)
            return ENT if exists else None
        name = labels[-2][1:]
        group = [p for p in self._group(name) if p.service.protocol == protocol]
        if not labels[-2].startswith(b"_") or not group:
            return ENT if labels == (b"_dns-sd", b"_udp") else None
        if len(labels) == 2:
            return self._type_node(group, protocol_label, name)
        return self._instance_node(group, labels[0], name, (SRV, TXT)) if len(labels) == 3 else None

    def _instance_node(self, group: list[Placed], label: bytes, name: bytes, types: Sequence[int]) -> Node | None:
        # One instance, or with an A-label one for each name that shares it.
        in_ace = label.startswith(_ACE)
        chosen = [each for each in group if each.key == label or (in_ace and _a_label(each.key) == label)]
        if not chosen:
            return None
        told = _union(placed.rrsets(self._target(placed, name)) for placed in chosen)
        return Node(
            [rrset for rrset in told if rrset.rtype in types],
            {SRV: lambda: (self._attached(placed, self._target(placed, name)) for placed in chosen)},
        )

    def _type_node(self, group: list[Placed], protocol_label: bytes, name: bytes) -> Node:
        targets = [self._target(placed, name) for placed in group]
        in_ace = name.startswith(_ACE)
        names = [
            self._wire(_a_label(each.instance), b"_" + name, protocol_label)
            if in_ace
            else self._wire(each.instance, b"_" + each.name, protocol_label)
            for each in group
        ]

        pairs = list(zip(group, targets, strict=True))

        def with_ptr() -> Iterator[Group]:
            # What a client asks for next (RFC 6763 12.1): the instance's SRV and TXT, the target's addresses.
            several: dict[tuple[bytes, bytes], list[Placed]] = {}
            for placed, target, owner in zip(group, targets, names, strict=True):
                several.setdefault((owner, target), []).append(placed)
            for (owner, target), some in several.items():
                told = _union(placed.rrsets(target) for placed in some)
                yield [(owner if rrset.rtype in (SRV, TXT) else target, rrset) for rrset in told]

        ptr = RRset(PTR, tuple(dict.fromkeys((b"", each) for each in names)))
        return Node((_srv_rrset(pairs), ptr), {SRV: lambda: self._attachments(pairs), PTR: with_ptr})

    def _types_node(self) -> Node:
        types = {
            (b"_" + placed.name.lower(), b"_" + placed.service.protocol.encode()): b"_" + placed.name
            for group in self._by_name.values()
            for placed in group
        }
        names = [self._wire(shown, protocol) for (_, protocol), shown in sorted(types.items())]
        return Node((RRset(PTR, tuple((b"", name) for name in names)),))

    def _list_node(self) -> Node:
        everything = [(placed, self._target(placed)) for group in self._by_name.values() for placed in group]

        def attached() -> Iterator[Group]:
            for placed, target in everything:
                yield [(target, rrset) for rrset in placed.rrsets(target)]

        return Node((RRset(PTR, tuple((b"", target) for _, target in everything)),), {PTR: attached}, whole=True)

    def _held_node(self) -> Node:
        """Like ``_list``, but for services that are held back."""
        everything = [(placed, self._target(placed)) for placed in self._held]

        def attached() -> Iterator[Group]:
            for placed, target in everything:
                yield [(target, rrset) for rrset in placed.rrsets(target)]

        return Node((RRset(PTR, tuple((b"", target) for _, target in everything)),), {PTR: attached}, whole=True)

    def _view_node(self, labels: Labels, key: bytes) -> Node | None:
        if len(labels) == 1:
            exists = self._may_chain(key) and any(each == key for placed in self._members() for each, _ in placed.pairs)
            return ENT if exists else None
        view = self.view((key, labels[-2]))
        return view.node(labels[:-2]) if view else None

    def _may_chain(self, key: bytes) -> bool:
        return len(self._path) < MAX_VIEW_DEPTH and all(key != used for used, _ in self._path)

    def _members(self) -> Iterator[Placed]:
        return (placed for group in self._by_name.values() for placed in group)

    def view(self, pair: Pair) -> Zone | None:
        """The zone of the services with the label ``key=value`` (both in lower case); None if there are none."""
        path = (*self._path, pair)
        if (known := self._views.get(path)) is not None:
            return known
        key, value = pair
        # A view that was asked for with an A-label has it in its origin, and so in every name of its responses.
        pairs = {pair} if not value.startswith(_ACE) else {pair, (key, _of_a_label(value))}
        may_be = self._may_chain(key)
        members = [each for each in self._members() if not pairs.isdisjoint(each.pairs)] if may_be else []
        if not members:
            return None
        view = Zone(self._wire(value, b"_" + key), ())
        view._placed, view._path, view._views = members, path, self._views
        if len(self._views) >= MAX_VIEWS:
            del self._views[next(iter(self._views))]
        self._views[path] = view
        return view

    def _wire(self, *labels: bytes) -> bytes:
        return b"".join(bytes((len(label),)) + label for label in labels) + self.origin

    def _target(self, placed: Placed, name: bytes = b"") -> bytes:
        """The SRV target of an instance. It is in A-labels if `name`, the service name in the query, is an A-label."""
        if name.startswith(_ACE):
            return self._wire(_a_label(placed.instance), name)
        return self._wire(placed.instance, placed.name)

    def _pairs(self, group: Iterable[Placed], name: bytes) -> list[tuple[Placed, bytes]]:
        return [(placed, self._target(placed, name)) for placed in group]

    def _attachments(self, pairs: Sequence[tuple[Placed, bytes]]) -> Iterable[Group]:
        """The additional records for the SRV records of instances, one group for each target."""
        by_target: dict[bytes, list[Placed]] = {}
        for placed, target in pairs:
            by_target.setdefault(target, []).append(placed)
        if len(by_target) == len(pairs):
            return (self._attached(placed, target) for placed, target in pairs)
        return (
            [(target, rrset) for rrset in _union(placed.rrsets(target) for placed in several) if rrset.rtype != SRV]
            for target, several in by_target.items()
        )

    def _attached(self, placed: Placed, target: bytes) -> Group:
        return [(target, rrset) for rrset in placed.rrsets(target) if rrset.rtype != SRV]


def _srv_rrset(pairs: Iterable[tuple[Placed, bytes]]) -> RRset:
    """The SRV RRset of instances with their targets. Names that share an A-label may share a record."""
    return RRset(SRV, tuple(dict.fromkeys((srv_octets(placed.service), target) for placed, target in pairs)))


def _union(several: Iterable[Iterable[RRset]]) -> list[RRset]:
    """Merges the RRsets of several instances at one name."""
    rdatas: dict[int, dict[Rdata, None]] = {}
    for rrsets in several:
        for rtype, some in rrsets:
            rdatas.setdefault(rtype, {}).update(dict.fromkeys(some))
    return [RRset(rtype, tuple(some)) for rtype, some in rdatas.items()]


def _a_label(label: bytes) -> bytes:
    """The A-label of a label by IDNA 2008 (RFC 5891): ``xn--`` and the Punycode of the lower-case label."""
    if label.isascii():
        return label
    return _ACE + label.decode("utf-8", "replace").lower().encode("punycode").lower()


def _of_a_label(label: bytes) -> bytes:
    """The U-label of an A-label, in lower case; the label itself if it cannot be decoded."""
    try:
        return label[len(_ACE) :].decode("punycode").lower().encode()
    except UnicodeError:
        return label
