"""One service as DNS records, and back (RFC 2782, RFC 6763).

An instance ``alpha-8080.web.minidisc.`` has SRV, TXT, A and AAAA. Its first label is
``<machine>-<port>``, or the address where the machine cannot stand for it; TXT holds the service
labels, and what mddns itself has to say under ``md.`` keys.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from ..base.grammar import MAX_ALIASES, MAX_SERVICE_LABELS, OWN_PREFIX, alias_problem, name_problem
from ..base.inet import AF_INET, AF_INET6, inet_ntop, inet_pton
from ..base.model import Service, fold
from ..base.names import MAX_LABEL

TTL: Final = 5  # seconds; sources are in memory and near, so asking again is cheap and news travels fast
_SRV: Final = Struct("!3H")
_MOST_STRINGS: Final = 2 * MAX_SERVICE_LABELS


def machine_label(host: str) -> str:
    """The machine part of an instance's label: the first label of a DNS name or host name, letters, digits, hyphens."""
    first = host.partition(".")[0]
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in first).strip("-").lower()


def shares_machine(name: str, others: Iterable[str]) -> bool:
    """Whether another node's name makes the same machine as `name` does, so that it cannot stand for instances."""
    machine = machine_label(name)
    return any(machine_label(other) == machine for other in others)


def instance_label(machine: str, address: str, port: int, protocol: str) -> str:
    """``alpha-8080``, ``alpha-53-udp``; with no machine the address: ``100-1-2-3-42``. At most 63 octets."""
    head = machine or address_label(address)
    tail = f"-{port}-udp" if protocol == "udp" else f"-{port}"
    if len(head) + len(tail) > MAX_LABEL:
        import hashlib  # slow to load, and rarely wanted

        tail = f"-{hashlib.sha256(head.encode()).hexdigest()[:6]}{tail}"
        head = head[: MAX_LABEL - len(tail)]
    return head + tail


def address_label(address: str) -> str:
    """``100-1-2-3``; IPv6 as eight groups of four digits."""
    if ":" not in address:
        return address.replace(".", "-")
    return inet_pton(AF_INET6, address).hex("-", 2)


def spoken_protocol(instance: str, port: int) -> str:
    """Which protocol an instance's label tells: ``udp`` where it ends so, else ``tcp``."""
    return "udp" if instance[-3:].lower() == "udp" and fold(instance).endswith(f"-{port}-udp") else "tcp"


def srv_octets(service: Service) -> bytes:
    """The fixed part of its SRV RDATA: priority, weight, port."""
    return _SRV.pack(service.priority, service.weight, service.endpoint.port)


def address_octets(address: str) -> bytes:
    """A or AAAA RDATA: 4 or 16 octets."""
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)


def address_text(octets: bytes) -> str | None:
    """The address that A or AAAA RDATA hold, None for any other length."""
    if len(octets) == 4:
        return inet_ntop(AF_INET, octets)
    return inet_ntop(AF_INET6, octets) if len(octets) == 16 else None


def _txt(strings: Iterable[bytes]) -> bytes:
    # A TXT record holds at least one string, if an empty one (RFC 6763 6.1).
    return b"".join(bytes((len(string),)) + string for string in strings) or b"\0"


def _strings(labels: Mapping[str, str]) -> list[bytes]:
    return sorted(f"{key}={value}".encode("utf-8", "surrogateescape") for key, value in labels.items())


def labels_txt(service: Service) -> bytes:
    """TXT RDATA of its service labels alone: what stands at the service's name."""
    return _txt(_strings(service.labels))


def instance_txt(service: Service) -> bytes:
    """TXT RDATA of the instance: service labels, then the ``md.`` keys."""
    own = dict(service.meta)
    if service.since is not None:
        own["md.since"] = str(service.since)
    if service.srv:
        own["md.srv"] = ",".join(service.srv)
    if service.held:
        own["md.held"] = service.held
    return _txt((*_strings(service.labels), *_strings(own)))


class Attributes(NamedTuple):
    """What TXT strings say: service labels, when the instance came up, its SRV aliases, why it is held back, and
    other ``md.`` pairs."""

    labels: dict[str, str]
    since: int | None
    meta: tuple[tuple[str, str], ...]
    srv: tuple[str, ...] = ()
    held: str = ""


@lru_cache(maxsize=512)
def _pair(string: bytes) -> tuple[str, str, str] | None:
    """Key, the key in lower case, value; None for what is no pair. Many services say the same of themselves."""
    key_octets, _, value_octets = string.partition(b"=")
    key = key_octets.decode("ascii", "surrogateescape")
    # Keys are printable ASCII (RFC 6763 6.4), and lone surrogates are not printable.
    if not key or not key.isprintable():
        return None
    return key, fold(key), value_octets.decode("utf-8", "surrogateescape")


def read_attributes(strings: Iterable[bytes]) -> Attributes:
    """TXT strings as attributes (RFC 6763 6.4): the first of equal keys stands, what is no key is ignored."""
    labels: dict[str, str] = {}
    meta: dict[str, str] = {}
    since = None
    srv: tuple[str, ...] = ()
    held = ""
    seen: set[str] = set()
    for string in strings:
        # Only this is another for each instance; it is not to push the others out of what is remembered.
        if string.startswith(b"md.since=") and len(string) < 25 and string[9:].isdigit():
            if since is None and "md.since" not in seen:
                seen.add("md.since")
                since = int(string[9:])
            continue
        pair = _pair(string)
        if pair is None:
            continue
        key, folded, value = pair
        if folded in seen:
            continue
        seen.add(folded)
        if not folded.startswith(OWN_PREFIX):
            labels[key] = value
        elif folded == "md.since" and value.isascii() and value.isdecimal() and len(value) < 16:
            since = int(value)
        elif folded == "md.srv":
            # What is no alias here may be one to a later version: it is passed over.
            srv = tuple(alias for alias in value.split(",", MAX_ALIASES)[:MAX_ALIASES] if not alias_problem(alias))
        elif folded == "md.held":
            held = value
        else:
            meta[key] = value
    return Attributes(labels, since, tuple(meta.items()), srv, held)


@lru_cache(maxsize=512)
def readable_name(label: bytes) -> str | None:
    """The service name in a DNS label, None where no service may be called so."""
    try:
        name = label.decode()
    except UnicodeDecodeError:
        return None
    return None if name_problem(name) else name
