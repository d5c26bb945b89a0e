"""What mddns speaks of: services, endpoints, peers. Frozen, and without any DNS in it.

A service is a name, service labels and an endpoint; everything else says where it was learned.
Rules about what may be offered are in :mod:`mddns.base.grammar`.
"""

# Annotations are evaluated here: as texts, each field of a NamedTuple would be compiled at import.
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Self, TypeVar

from .inet import AF_INET, AF_INET6, inet_ntop, inet_pton

DEFAULT_PORT: Final = 28004
DEFAULT_DOMAIN: Final = "minidisc"

# HAProxy gives a server of SRV weight 0 no traffic; equal weights above 0 are equal everywhere.
DEFAULT_PRIORITY: Final = 10
DEFAULT_WEIGHT: Final = 10


def join_address(address: str, port: int) -> str:
    """``ip:port``, with the brackets that IPv6 wants (RFC 3986 3.2.2)."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def canonical_address(text: str) -> str:
    """An IP address as :mod:`ipaddress` prints it (RFC 5952); ValueError where it is none."""
    try:
        if ":" not in text:
            return inet_ntop(AF_INET, inet_pton(AF_INET, text))
        canonical = inet_ntop(AF_INET6, inet_pton(AF_INET6, text))
        if "." not in canonical:
            return canonical
    except (OSError, ValueError):
        pass
    # Zones, IPv4 within IPv6, and what is wrong with it: rare, and the module is slow to load.
    import ipaddress

    return str(ipaddress.ip_address(text))


def split_address(text: str) -> tuple[str, int]:
    """``"100.64.0.2:80"`` as ``("100.64.0.2", 80)``; IPv6 in brackets. ValueError where it is neither."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not (port.isascii() and port.isdecimal() and len(port) <= 5) or not 0 < int(port) <= 65535:
        raise ValueError(f"{text!r} is no ip:port: the port is a number from 1 to 65535")
    try:
        address = canonical_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(f"{text!r} is no ip:port: IPv4 as 100.64.0.2:80, IPv6 as [fd7a::2]:80") from None
    if bracketed != (":" in address):
        raise ValueError(f"{text!r} is no ip:port: brackets belong around IPv6, as in [fd7a::2]:80")
    return address, int(port)


class Endpoint(str):
    """``"100.64.0.2:8080"`` or ``"[fd7a::2]:80"``: a str that any client takes, with its two parts."""

    # Without a place for anything of its own, the garbage collector has nothing to look at.
    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        address, port = split_address(text)
        return cls.of(address, port)

    @classmethod
    def of(cls, address: str, port: int) -> Self:
        """From parts already known to be good."""
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

    ``addresses`` are all that the instance answers on, ``endpoint`` the one to use. ``via`` is the
    peer that said it; ``remote`` is set where the address is not that peer's own. What is unknown
    is None. ``since`` is Unix time in ms, ``rtt_ms`` milliseconds. ``meta`` keeps what other
    versions of mddns put under ``md.`` keys. ``srv`` are its aliases: ``etcd-client`` is asked for as
    ``_etcd-client._tcp.NAME``. ``held`` says why it is held back, and nobody else finds it; "" is not.
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
    rtt_ms: float | None = None  # the one thing that makes no other service: last, to be left out where two compare

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it this service and no other: name without ASCII case, endpoint, protocol."""
        return fold(self.name), self.endpoint, self.protocol

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return self[:-1] == other[:-1] if isinstance(other, Service) else NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    def matches(self, name: str | None = None, labels: Mapping[str, str] | None = None) -> bool:
        """Whether it has that name (in any ASCII case) and at least these labels (compared exactly)."""
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
    """What a lookup found, best first. ``silent`` names the registries that should have answered."""

    def __init__(self, services: Iterable[Service] = (), silent: Iterable[str] = (), asked: int = 0) -> None:
        super().__init__(services)
        self.silent: tuple[str, ...] = tuple(silent)
        self.asked = asked

    @property
    def complete(self) -> bool:
        """Whether everyone who counts has answered."""
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
    """A node of the network. ``addresses`` are bare IP texts, IPv4 first; ``port`` is its responder's.

    ``asked`` is whether lookups go to it (phones, shared-in and expired nodes: no); ``member``
    whether it may ask us for merged answers. ``online`` is a hint only. ``id`` is the endpoint of its
    responder at its first address: what it is known by in every table; ``route`` the addresses that a
    lookup tries, one of each family, IPv4 first. ``node`` tells whether that address is still the same
    machine's: a network may give it to another one.
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
        # Worked out once: a lookup needs them of every peer.
        six = next((address for address in addresses if ":" in address), None)
        four = next((address for address in addresses if ":" not in address), None)
        route = tuple(address for address in (four, six) if address)
        known_by = join_address(addresses[0], port)
        return super().__new__(cls, name, addresses, port, owner, tags, online, asked, member, node, known_by, route)

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self[:-2]

    def is_same_node(self, other: "Peer") -> bool:
        """Whether what was learned of one holds for the other: one machine, at one address, whatever it is called."""
        return self.id == other.id and is_one_node(self.node, other.node)

    @property
    def shown(self) -> str:
        """What to call it before people."""
        return self.name or self.addresses[0]


def is_one_node(one: str, other: str) -> bool:
    """Whether two values of `Peer.node` are of one machine: the same stable ID, and its key or its name stayed as well.

    A machine or a whole network may be renamed, and a key may be renewed. Another network may use the same IDs.
    """
    if one == other:
        return True
    stable, *marks = one.split(" ")
    other_stable, *others = other.split(" ")
    return stable == other_stable and any(mark and mark == mine for mark, mine in zip(marks, others, strict=False))


class Snapshot(NamedTuple):
    """A network at one moment: our own node, and everyone else.

    ``me`` is None where we only look on (a static network that this machine is not part of).
    ``tun`` is False where our addresses are the daemon's alone (userspace networking). ``full_name`` is this
    machine's whole name in DNS, without a final dot, where the network gives it one.
    """

    me: Peer | None
    peers: tuple[Peer, ...]
    network: str = "tailscale"
    tun: bool = True
    full_name: str = ""

    def everyone(self) -> Iterator[Peer]:
        """Our own node first, then the peers."""
        if self.me:
            yield self.me
        yield from self.peers


_V = TypeVar("_V", Service, Peer, Snapshot)


def replace(value: _V, **changes: Any) -> _V:
    """The same service, peer or snapshot with other values in some of its fields."""
    if isinstance(value, Peer):
        return Peer(**dict(zip(value._fields, value[:-2], strict=False)) | changes)
    return value._replace(**changes)


def fold(text: str) -> str:
    """Lower case for ASCII letters alone: what "the same name" means in DNS (RFC 4343)."""
    return (
        text.lower()
        if text.isascii()
        else text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")
    )


def order_addresses(addresses: Iterable[str]) -> tuple[str, ...]:
    """Canonical texts without doubles, IPv4 before IPv6, otherwise in the order given."""
    unique = dict.fromkeys(canonical_address(address) for address in addresses)
    return tuple(sorted(unique, key=lambda address: ":" in address))
