"""One service as DNS records, and back (RFC 2782, RFC 6763).

An instance ``alpha-8080.web.minidisc.`` has SRV, TXT, A and AAAA. Its first label is
``<machine>-<port>``, with the address in place of a machine name that is not unique; TXT holds the service
labels, and mddns's own data under ``md.`` keys.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from ..base.inet import AF_INET, AF_INET6, inet_ntop, inet_pton
from ..base.model import Service, fold
from ..base.names import MAX_LABEL
from ..base.validation import MAX_ALIASES, MAX_SERVICE_LABELS, OWN_PREFIX, alias_problem, name_problem

TTL: Final = 5  # seconds; responders answer from memory and are near, so a new query is cheap and changes are seen soon
_SRV: Final = Struct("!3H")
_MOST_STRINGS: Final = 2 * MAX_SERVICE_LABELS


def machine_label(host: str) -> str:
    """The machine part of an instance's label: letters, digits and hyphens of a host name's first label."""
    first = host.partition(".")[0]
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in first).strip("-").lower()


def shares_machine(name: str, others: Iterable[str]) -> bool:
    """Whether another node's name gives the same machine part, so that instance labels cannot use it."""
    machine = machine_label(name)
    return any(machine_label(other) == machine for other in others)


def instance_label(machine: str, address: str, port: int, protocol: str) -> str:
    """``alpha-8080``, ``alpha-53-udp``; without a machine name, the address: ``100-1-2-3-42``. At most 63 octets."""
    head = machine or address_label(address)
    tail = f"-{port}-udp" if protocol == "udp" else f"-{port}"
    if len(head) + len(tail) > MAX_LABEL:
        import hashlib  # slow to load, and rarely needed

        tail = f"-{hashlib.sha256(head.encode()).hexdigest()[:6]}{tail}"
        head = head[: MAX_LABEL - len(tail)]
    return head + tail


def address_label(address: str) -> str:
    """``100-1-2-3``; IPv6 as eight groups of four digits."""
    if ":" not in address:
        return address.replace(".", "-")
    return inet_pton(AF_INET6, address).hex("-", 2)


def spoken_protocol(instance: str, port: int) -> str:
    """The protocol that an instance's label shows: ``udp`` if it ends in ``-<port>-udp``, else ``tcp``."""
    return "udp" if instance[-3:].lower() == "udp" and fold(instance).endswith(f"-{port}-udp") else "tcp"


def srv_octets(service: Service) -> bytes:
    """The fixed part of its SRV RDATA: priority, weight, port."""
    return _SRV.pack(service.priority, service.weight, service.endpoint.port)


def address_octets(address: str) -> bytes:
    """A or AAAA RDATA: 4 or 16 octets."""
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)


def address_text(octets: bytes) -> str | None:
    """The address in A or AAAA RDATA, None for any other length."""
    if len(octets) == 4:
        return inet_ntop(AF_INET, octets)
    return inet_ntop(AF_INET6, octets) if len(octets) == 16 else None


def _txt(strings: Iterable[bytes]) -> bytes:
    # A TXT record has at least one string, which may be empty (RFC 6763 6.1).
    return b"".join(bytes((len(string),)) + string for string in strings) or b"\0"


def _strings(labels: Mapping[str, str]) -> list[bytes]:
    return sorted(f"{key}={value}".encode("utf-8", "surrogateescape") for key, value in labels.items())


def labels_txt(service: Service) -> bytes:
    """TXT RDATA with the service labels only: the TXT record at the service's name."""
    return _txt(_strings(service.labels))


def instance_txt(service: Service) -> bytes:
    """TXT RDATA of the instance: the service labels, then the ``md.`` keys."""
    own = dict(service.meta)
    if service.since is not None:
        own["md.since"] = str(service.since)
    if service.srv:
        own["md.srv"] = ",".join(service.srv)
    if service.held:
        own["md.held"] = service.held
    return _txt((*_strings(service.labels), *_strings(own)))


class Attributes(NamedTuple):
    """The content of TXT strings.

    ``labels`` are the service labels, ``since`` the start time in Unix ms, ``meta`` other ``md.`` pairs, ``srv`` the
    SRV aliases, ``held`` the reason why the service is held back.
    """

    labels: dict[str, str]
    since: int | None
    meta: tuple[tuple[str, str], ...]
    srv: tuple[str, ...] = ()
    held: str = ""


@lru_cache(maxsize=512)
def _pair(string: bytes) -> tuple[str, str, str] | None:
    """Key, key in lower case, value; None without a valid key. Cached, because many services have equal pairs."""
    key_octets, _, value_octets = string.partition(b"=")
    key = key_octets.decode("ascii", "surrogateescape")
    # Keys are printable ASCII (RFC 6763 6.4), and lone surrogates are not printable.
    if not key or not key.isprintable():
        return None
    return key, fold(key), value_octets.decode("utf-8", "surrogateescape")


def read_attributes(strings: Iterable[bytes]) -> Attributes:
    """Reads attributes from TXT strings (RFC 6763 6.4): the first of equal keys counts, invalid keys are ignored."""
    labels: dict[str, str] = {}
    meta: dict[str, str] = {}
    since = None
    srv: tuple[str, ...] = ()
    held = ""
    seen: set[str] = set()
    for string in strings:
        # Only this pair differs for each instance; it must not evict others from the cache of `_pair`.
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
            # A later version may allow more aliases: an invalid one is ignored.
            srv = tuple(alias for alias in value.split(",", MAX_ALIASES)[:MAX_ALIASES] if not alias_problem(alias))
        elif folded == "md.held":
            held = value
        else:
            meta[key] = value
    return Attributes(labels, since, tuple(meta.items()), srv, held)


@lru_cache(maxsize=512)
def readable_name(label: bytes) -> str | None:
    """The service name in a DNS label, None if it is not a valid service name."""
    try:
        name = label.decode()
    except UnicodeDecodeError:
        return None
    return None if name_problem(name) else name
