"""The zone of a mirror: how a holder writes it for the programs of its own host, and how they read it.

The records of the merged zone do not say which peer offers a service, nor the state of each peer. So the TXT record of
each instance carries these ``md.`` keys besides its others: the id of the peer that offers it (``md.via``), the peer's
round-trip time in milliseconds (``md.rtt``) and, if the merged zone has given the instance another label, its own label
(``md.label``). The TXT records at ``_mirror`` say whether the mirror knows the whole network, and the state of each
peer. The reader takes the identity of a peer from its own list of nodes, never from here.
"""

from __future__ import annotations

import enum
from binascii import crc32
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ..base.errors import BadMessage
from ..base.model import Peer, Service, fold, is_one_node, replace
from ..base.names import Name
from ..codec.answer import Told, introduce
from ..dns.message import TXT, read_strings
from ..dns.writer import Rdata, RRset
from ..zone.secondary import Key, Secondary, instances_of
from ..zone.zone import Node, place

OWNER: Final = b"_mirror"
_VIA, _RTT, _LABEL = _OURS = ("md.via", "md.rtt", "md.label")
_CURRENT, _BEGINNING = b"current", b"beginning"
_LONGEST: Final = 255  # octets of a string in TXT


class State(enum.Enum):
    """The state of a peer in a mirror. A peer that the mirror does not list has no registry that answers."""

    REGISTRY = "registry"
    SILENT = "silent"
    UNHEARD = "unheard"  # it has not answered yet; the services known of it before are kept


class Stood(NamedTuple):
    """The state of one peer. `serial` is that of the mirror's copy of its zone; None without a copy."""

    state: State
    id: str
    node: str
    name: str
    serial: int | None = None

    @classmethod
    def of(cls, state: State, peer: Peer, serial: int | None = None) -> Stood:
        """Returns the entry for `peer`, with its texts cut to the length that TXT allows."""
        return cls(state, peer.id, _cut(peer.node), _cut(peer.name), serial)

    def is_of(self, peer: Peer) -> bool:
        """Whether this is the node of `peer`, and not another node that had or has the same address."""
        return self.id == peer.id and is_one_node(self.node, _cut(peer.node))


class Beside(NamedTuple):
    """The content of ``_mirror``. `peers` is the :func:`census` of all mirrored peers, listed in `stood` or not."""

    current: bool
    peers: str
    stood: Mapping[str, Stood]  # by peer id


def census(peers: Iterable[Peer]) -> str:
    """Returns a checksum of a set of peers, which hardly ever is the same for other peers."""
    # The name of a peer may change, and not every process sees that at the same moment; so names are left out.
    known = "|".join(sorted(peer.id + " " + peer.node.partition(" ")[0] for peer in peers))
    return f"{crc32(known.encode()):08x}"


def _cut(text: str) -> str:
    if 4 * len(text) <= _LONGEST:  # UTF-8 takes at most 4 octets for a character
        return text
    return text.encode("utf-8", "surrogateescape")[:_LONGEST].decode("utf-8", "surrogateescape")


# -- Writing, by the holder


class Marker:
    """Adds the ``md.`` keys of a mirror to services."""

    def __init__(self) -> None:
        # By id() of a service: the service (the reference keeps its id in use), the marked one, its name and label.
        self._marked: dict[int, tuple[Service, Service, tuple[str, str]]] = {}

    def mark(self, services: Iterable[Service]) -> list[Service]:
        """Returns the services with the keys. For a service object of the last call, the result is the same object."""
        before, self._marked = self._marked, {}
        for service in services:
            known = before.get(id(service))
            if known is None:
                known = service, _marked(service), (fold(service.name), fold(service.instance))
            self._marked[id(service)] = known
        marked = [known[1] for known in self._marked.values()]
        called = {known[2] for known in self._marked.values()}
        if len(called) < len(marked) or any(label in ("", "*") for _, label in called):
            self._keep_labels(marked)
        return marked

    @staticmethod
    def _keep_labels(marked: list[Service]) -> None:
        """Adds ``md.label`` to each service that gets another label in the zone than its own."""
        index = {id(each): number for number, each in enumerate(marked)}
        for each in place(marked):
            if each.instance != _octets(each.service.instance):
                label = _LABEL, each.service.instance
                marked[index[id(each.service)]] = replace(each.service, meta=(*each.service.meta, label))


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _marked(service: Service) -> Service:
    meta = [pair for pair in service.meta if fold(pair[0]) not in _OURS]  # only the mirror itself may set these keys
    if service.via:
        meta.append((_VIA, service.via))
    if service.rtt_ms is not None:
        meta.append((_RTT, str(service.rtt_ms)))
    return replace(service, meta=tuple(meta))


class Standings:
    """Writes the states of peers as TXT records."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[Stood, Rdata]] = {}  # by peer id

    def beside(self, stood: Iterable[Stood], peers: str, *, current: bool) -> Node:
        """Returns the node ``_mirror`` of the zone; `peers` is the :func:`census` of the peers."""
        before, self._written = self._written, {}
        rdatas: dict[Rdata, None] = {(_txt(_CURRENT if current else _BEGINNING, peers.encode()), None): None}
        for each in stood:
            known = before.get(each.id)
            if known is None or known[0] != each:
                known = each, (_stood_txt(each), None)
            self._written[each.id] = known
            rdatas[known[1]] = None
        return Node((RRset(TXT, tuple(rdatas)),))


def _stood_txt(stood: Stood) -> bytes:
    texts = (stood.state.value, stood.id, stood.node, stood.name, "" if stood.serial is None else str(stood.serial))
    return _txt(*map(_octets, texts))


def _txt(*strings: bytes) -> bytes:
    return b"".join(bytes((len(string),)) + string for string in strings)


# -- Reading, by programs of the host


class MirrorCopy(Secondary):
    """A copy of a zone that may be a mirror's; it may be as large as the zones of that many `hosts`."""

    def __init__(self, apex: Name, hosts: int = 1) -> None:
        owner = Name.of((OWNER,), apex).key, TXT
        instances = instances_of(apex)

        def wanted(key: Key) -> bool:
            return key == owner or instances(key)

        super().__init__(apex, wanted, hosts)
        self._beside = owner
        self._stood: dict[bytes, Stood] = {}  # by RDATA, from the last read

    @property
    def is_mirror(self) -> bool:
        """Whether this is the zone of a mirror, and not that of one host."""
        return self._beside in self.records

    def beside(self) -> Beside:
        """Returns the content of ``_mirror``. Raises BadMessage if it is malformed."""
        current, peers, stood = False, "", {}
        before, self._stood = self._stood, {}
        for rdata in self.records.get(self._beside, {}).values():
            if (known := before.get(rdata)) is not None:
                self._stood[rdata] = stood[known.id] = known
                continue
            strings = read_strings(rdata, 0, len(rdata))
            if len(strings) == 2 and strings[0] in (_CURRENT, _BEGINNING):
                current, peers = strings[0] == _CURRENT, strings[1].decode("utf-8", "replace")
                continue
            try:
                state, peer, node, name, serial = (each.decode("utf-8", "surrogateescape") for each in strings)
                read = Stood(State(state), peer, node, name, int(serial) if serial else None)
                self._stood[rdata] = stood[peer] = read
            except ValueError:
                raise BadMessage("a mirror with a malformed record about the state of a peer") from None
        return Beside(current, peers, stood)


class Words:
    """Makes services of the instances in a copied zone; for an unchanged instance it returns the same object again."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[Told, Peer, Service]] = {}

    def by_peer(self, told: Iterable[Told], peers: Mapping[str, Peer], network: str) -> dict[str, Sequence[Service]]:
        """Returns the services of a mirror's zone by peer id, without those of peers that are not in `peers`."""
        before, self._known = self._known, {}
        found: dict[str, list[Service]] = {}
        for each in told:
            known = before.get((each.name, each.instance))
            if known is None or known[0] is not each or known[1] is not peers.get(known[1].id):
                peer = peers.get(_via(each))
                if peer is None:
                    continue
                known = each, peer, _service(each, peer, network)
            self._known[each.name, each.instance] = known
            found.setdefault(known[1].id, []).append(known[2])
        return dict(found)

    def of_one(self, told: Iterable[Told], peer: Peer, network: str, rtt_ms: float | None) -> list[Service]:
        """Returns the services of the zone of `peer` itself, with its round-trip time in milliseconds."""
        before, self._known = self._known, {}
        found = []
        for each in told:
            known = before.get((each.name, each.instance))
            if known is None or known[0] is not each or known[1] is not peer or known[2].rtt_ms != rtt_ms:
                known = each, peer, introduce(each, peer, network, rtt_ms)
            self._known[each.name, each.instance] = known
            found.append(known[2])
        return found


def _via(told: Told) -> str:
    return next((value for key, value in told.attributes.meta if key == _VIA), "")


def _service(told: Told, peer: Peer, network: str) -> Service:
    ours = {key: value for key, value in told.attributes.meta if key in _OURS}
    meta = tuple(pair for pair in told.attributes.meta if pair[0] not in _OURS)
    try:
        rtt = float(ours[_RTT]) if _RTT in ours else None
    except ValueError:
        rtt = None
    own = told._replace(attributes=told.attributes._replace(meta=meta), instance=ours.get(_LABEL, told.instance))
    return introduce(own, peer, network, rtt)
