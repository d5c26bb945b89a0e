"""The types services, endpoints and peers: immutable, and independent of DNS.

A service is a name, service labels and an endpoint; the other fields say where it was learned.
The rules for what a node may offer are in :mod:`mddns.base.validation`.
"""

# No `from __future__ import annotations`: NamedTuple would compile each annotation from text at import.
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Self, TypeVar

from .inet import AF_INET, AF_INET6, inet_ntop, inet_pton

DEFAULT_PORT: Final = 28004
DEFAULT_DOMAIN: Final = "minidisc"

# HAProxy gives a server of SRV weight 0 no traffic; equal weights above 0 are equal everywhere.
DEFAULT_PRIORITY: Final = 10
DEFAULT_WEIGHT: Final = 10


def join_address(address: str, port: int) -> str:
    """``ip:port``, with brackets around IPv6 (RFC 3986 3.2.2)."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def canonical_address(text: str) -> str:
    """Returns an IP address as :mod:`ipaddress` prints it (RFC 5952). Raises ValueError for other text."""
    try:
        if ":" not in text:
            return inet_ntop(AF_INET, inet_pton(AF_INET, text))
        canonical = inet_ntop(AF_INET6, inet_pton(AF_INET6, text))
        if "." not in canonical:
            return canonical
    except (OSError, ValueError):
        pass
    # Zones, IPv4 within IPv6, and error texts: rare, and the module is slow to load.
    import ipaddress

    return str(ipaddress.ip_address(text))


def split_address(text: str) -> tuple[str, int]:
    """``"100.64.0.2:80"`` as ``("100.64.0.2", 80)``; IPv6 in brackets. Raises ValueError for other text."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not (port.isascii() and port.isdecimal() and len(port) <= 5) or not 0 < int(port) <= 65535:
        raise ValueError(f"{text!r} is no ip:port: the port must be a number from 1 to 65535")
    try:
        address = canonical_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(f"{text!r} is no ip:port: write IPv4 as 100.64.0.2:80, IPv6 as [fd7a::2]:80") from None
    if bracketed != (":" in address):
        raise ValueError(f"{text!r} is no ip:port: only IPv6 is written in brackets, as in [fd7a::2]:80")
    return address, int(port)


class Endpoint(str):
    """``"100.64.0.2:8080"`` or ``"[fd7a::2]:80"``: a str that any client accepts, with its parts as properties."""

    # Without a __dict__, the garbage collector does not track it.
    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        address, port = split_address(text)
        return cls.of(address, port)

    @classmethod
    def of(cls, address: str, port: int) -> Self:
        """Makes an endpoint from parts that are already checked."""
        return str.__new__(cls, f"[{address}]:{port}" if ":" in address else f"{address}:{port}")

    @property
    def address(self) -> str:
        """The IP address, without brackets."""
        return self[: self.rindex(":")].strip("[]")

    @property
    def port(self) -> int:
        """The port's number."""
        return int(self[self.rindex(":") + 1 :])


class Service(NamedTuple):
    """One service as one node offers it (an *instance*, RFC 6763).

    ``addresses`` are all addresses of the instance, ``endpoint`` is the one to use. ``via`` is the peer that
    offers it; ``remote`` is set if the address is not that peer's own. An unknown field is None.
    ``since`` is the start time in Unix ms, ``rtt_ms`` the round-trip time in milliseconds. ``meta`` keeps
    the ``md.`` keys of other versions of mddns. ``srv`` are its aliases: clients query ``etcd-client`` as
    ``_etcd-client._tcp.NAME``. ``held`` says why the service is held back, so that no lookup
    finds it; "" means that it is not held back.
    """

    name: str
    labels: Mapping[str, str]
    endpoint: Endpoint
    addresses: tuple[str, ...] = ()
    protocol: str = "tcp"
    priority: int = DEFAULT_PRIORITY
    weight: int = DEFAULT_WEIGHT
    host: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    via: str | None = None
    network: str | None = None
    remote: bool = False
    since: int | None = None
    instance: str = ""
    meta: tuple[tuple[str, str], ...] = ()
    srv: tuple[str, ...] = ()
    held: str = ""
    rtt_ms: float | None = None  # last, because comparisons of services leave it out

    @property
    def key(self) -> tuple[str, str, str]:
        """Identifies the service: name without ASCII case, endpoint, protocol."""
        return fold(self.name), self.endpoint, self.protocol

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return self[:-1] == other[:-1] if isinstance(other, Service) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    def matches(self, name: str | None = None, labels: Mapping[str, str] | None = None) -> bool:
        """Whether the service has this name (in any ASCII case) and at least these labels (compared exactly)."""
        if name is not None and fold(name) != fold(self.name):
            return False
        return not labels or all(self.labels.get(key) == value for key, value in labels.items())

    def to_json(self) -> dict[str, Any]:
        """The JSON shape that ``md -o json`` prints; ``addrPort`` is Minidisc's key."""
        return {
            "name": self.name,
            "labels": dict(self.labels),
            "addrPort": str(self.endpoint),
            "addresses": list(self.addresses),
            "protocol": self.protocol,
            "priority": self.priority,
            "weight": self.weight,
            "host": self.host,
            "owner": self.owner,
            "tags": list(self.tags),
            "via": self.via,
            "network": self.network,
            "remote": self.remote,
            "since": self.since,
            "rttMs": self.rtt_ms,
        }


class Services(list[Service]):
    """The services that a lookup found, best first. ``silent`` names the registries that should answer, but did not."""

    def __init__(self, services: Iterable[Service] = (), silent: Iterable[str] = (), asked: int = 0) -> None:
        super().__init__(services)
        self.silent: tuple[str, ...] = tuple(silent)
        self.asked = asked

    @property
    def complete(self) -> bool:
        """Whether all registries that should answer have answered."""
        return not self.silent


class _Peer(NamedTuple):
    name: str
    addresses: tuple[str, ...]
    port: int
    owner: str | None
    tags: tuple[str, ...]
    online: bool
    asked: bool
    member: bool
    node: str
    id: str
    route: tuple[str, ...]


class Peer(_Peer):
    """A node of the network. ``addresses`` are IP addresses as text, IPv4 first; ``port`` is its responder's.

    ``asked`` is whether lookups query it (not phones, shared-in or expired nodes); ``member`` whether it
    may query us for merged answers. ``online`` is a hint only. ``id`` is the endpoint of its responder at
    its first address, and its key in every table. ``route`` are the addresses that a lookup tries, one of
    each family, IPv4 first. ``node`` identifies the machine, because a network may give an address to
    another machine.
    """

    __slots__ = ()

    def __new__(
        cls,
        name: str,
        addresses: tuple[str, ...],
        port: int = DEFAULT_PORT,
        owner: str | None = None,
        tags: tuple[str, ...] = (),
        online: bool = True,
        asked: bool = True,
        member: bool = True,
        node: str = "",
    ) -> Self:
        # Computed once: a lookup needs them for every peer.
        six = next((address for address in addresses if ":" in address), None)
        four = next((address for address in addresses if ":" not in address), None)
        route = tuple(address for address in (four, six) if address)
        known_by = join_address(addresses[0], port)
        return super().__new__(cls, name, addresses, port, owner, tags, online, asked, member, node, known_by, route)

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self[:-2]

    def is_same_node(self, other: "Peer") -> bool:
        """Whether both are the same machine at the same address, under any name, so that cached data stays valid."""
        return self.id == other.id and is_one_node(self.node, other.node)

    @property
    def shown(self) -> str:
        """The name to show to users."""
        return self.name or self.addresses[0]


def is_one_node(one: str, other: str) -> bool:
    """Whether two values of `Peer.node` mean one machine: the same stable ID, and the same key or the same name.

    A machine or a whole network may be renamed, and a key may be renewed. Another network may use the same IDs.
    """
    if one == other:
        return True
    stable, *marks = one.split(" ")
    other_stable, *others = other.split(" ")
    return stable == other_stable and any(mark and mark == mine for mark, mine in zip(marks, others, strict=False))


class Snapshot(NamedTuple):
    """A network at one moment: our own node and its peers.

    ``me`` is None if this machine is not part of the network (a static network that it only queries).
    ``tun`` is False if only the network's daemon has our addresses (userspace networking). ``full_name`` is the
    full DNS name of this machine, without a final dot, if the network gives it one.
    """

    me: Peer | None
    peers: tuple[Peer, ...]
    network: str = "tailscale"
    tun: bool = True
    full_name: str = ""

    def everyone(self) -> Iterator[Peer]:
        """Yields our own node first, then the peers."""
        if self.me:
            yield self.me
        yield from self.peers


_V = TypeVar("_V", Service, Peer, Snapshot)


def replace(value: _V, **changes: Any) -> _V:
    """Returns a copy of a service, peer or snapshot with other values in some fields."""
    if isinstance(value, Peer):
        return Peer(**dict(zip(value._fields, value[:-2], strict=False)) | changes)
    return value._replace(**changes)


def fold(text: str) -> str:
    """Lower case of ASCII letters only: DNS compares names in this form (RFC 4343)."""
    return (
        text.lower()
        if text.isascii()
        else text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")
    )


def order_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    """Canonical texts without duplicates, IPv4 before IPv6, otherwise in the given order."""
    unique = dict.fromkeys(canonical_address(address) for address in addresses)
    return tuple(sorted(unique, key=lambda address: ":" in address))
