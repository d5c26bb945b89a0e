"""The rules for names, labels, addresses and ports of services. Every error names field, value and rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from .errors import InvalidService
from .model import fold

MAX_SERVICE_NAME: Final = 62  # one octet stays free for the underscore of _name._tcp
MAX_SERVICE_LABEL: Final = 255  # one character-string of a TXT record (RFC 1035 3.3)
MAX_SERVICE_LABELS: Final = 64
MAX_LABEL_OCTETS: Final = 1300  # all strings of a service together (RFC 6763 6.2)
MAX_SERVICES: Final = 1000  # of one host
RESERVED_NAMES: Final = frozenset(("*", "ns", "leader", "wpad", "isatap", "localhost"))
OWN_PREFIX: Final = "md."
PROTOCOLS: Final = ("tcp", "udp")
MAX_ALIASES: Final = 16  # of one service
MAX_ALIASES_OCTETS: Final = 248  # joined by commas, they are one TXT string after "md.srv="


def normal_name(name: str) -> str:
    """Returns `name` as DNS holds it (NFC). Raises InvalidService with the rule that it breaks."""
    if not isinstance(name, str):
        raise InvalidService(f"service name {name!r}: a name must be text, not {type(name).__name__}")
    if not name.isascii():
        from unicodedata import normalize  # a large module that is rarely needed

        normal = normalize("NFC", name)
    else:
        normal = name
    problem = name_problem(normal)
    if problem:
        raise InvalidService(f"service name {name!r}: {problem}")
    return normal


def name_problem(name: str) -> str | None:
    """Returns why `name` is not a valid service name, or None if it is valid. Does not normalise it first."""
    try:
        octets = name.encode()
    except UnicodeEncodeError:
        return "not valid UTF-8"
    if not octets:
        return "must have at least one character"
    if len(octets) > MAX_SERVICE_NAME:
        return f"{len(octets)} octets; at most {MAX_SERVICE_NAME} fit beside the underscore of _name._tcp"
    if fold(name) in RESERVED_NAMES:
        return f"reserved, as are all of {', '.join(sorted(RESERVED_NAMES))}"
    if name.startswith("_") or fold(name[:4]) == "xn--":
        return "must not start with '_' or 'xn--', which have a meaning in DNS"
    if name.isascii():
        return None if name.isprintable() else "control characters are not allowed"
    import unicodedata

    if any(unicodedata.category(char) == "Cc" for char in name):
        return "control characters are not allowed"
    if not unicodedata.is_normalized("NFC", name):
        return "must be in Unicode normal form C (NFC)"
    return None


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Returns a copy of `labels`. Raises InvalidService, which names the first that does not fit into a TXT record."""
    if not isinstance(labels, Mapping):
        raise InvalidService(f"labels {labels!r}: must be a mapping of text to text, as in {{'env': 'prod'}}")
    if len(labels) > MAX_SERVICE_LABELS:
        raise InvalidService(f"{len(labels)} labels; at most {MAX_SERVICE_LABELS} are allowed for a service")
    total = 0
    seen: dict[str, str] = {}
    for key, value in labels.items():
        if problem := label_problem(key, value):
            raise InvalidService(f"label {key!r}: {problem}")
        if (other := seen.setdefault(fold(key), key)) != key:
            raise InvalidService(f"label {key!r}: {other!r} is the same key in another case")
        total += 1 + len(key) + 1 + len(value.encode())
    if total > MAX_LABEL_OCTETS:
        raise InvalidService(f"labels of {total} octets together; at most {MAX_LABEL_OCTETS} are allowed for a service")
    return dict(labels)


def label_problem(key: str, value: str) -> str | None:
    """Returns why ``key=value`` is not a valid service label, or None if it is valid."""
    for part in (key, value):
        if not isinstance(part, str):
            return f"key and value must be text; {part!r} is {type(part).__name__}"
    if not key:
        return "a key must have at least one character"
    if "=" in key:
        return "a key must not contain '=', which ends the key in a TXT record"
    if not (key.isascii() and key.isprintable()):
        return "keys must be printable ASCII (RFC 6763 6.4)"
    if fold(key).startswith(OWN_PREFIX):
        return "keys that start with 'md.' are reserved for mddns"
    try:
        octets = len(key) + 1 + len(value.encode())
    except UnicodeEncodeError:
        return "the value is not valid UTF-8"
    if octets > MAX_SERVICE_LABEL:
        return f"{octets} octets as key=value; at most {MAX_SERVICE_LABEL} fit into one TXT string"
    return None


def check_port(port: int) -> int:
    """Returns `port`. Raises InvalidService if it is not a number from 1 to 65535."""
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port <= 65535:
        raise InvalidService(f"port {port!r}: must be a whole number from 1 to 65535")
    return port


def check_address(address: str) -> str:
    """Returns an IP address in canonical text. Raises InvalidService if no client could connect to it."""
    import ipaddress  # slow to load, and only offers need it

    try:
        if not isinstance(address, str) or "%" in address:  # a zone index is valid on one machine only
            raise ValueError
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise InvalidService(f"address {address!r}: must be an IPv4 or IPv6 address") from None
    if parsed.is_unspecified or parsed.is_multicast:
        raise InvalidService(
            f"address {address!r}: clients cannot connect to it; ':8080' is port 8080 at this node's own address"
        )
    return str(parsed)


def check_16_bits(field: str, value: int) -> int:
    """Returns an SRV priority or weight, 0 to 65535 (RFC 2782). Raises InvalidService, which names `field`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise InvalidService(f"{field} {value!r}: must be a whole number from 0 to 65535")
    return value


def check_protocol(protocol: str) -> str:
    """Returns `protocol`. Raises InvalidService if it is not ``tcp`` or ``udp``."""
    if protocol not in PROTOCOLS:
        raise InvalidService(f"protocol {protocol!r}: must be 'tcp' or 'udp'")
    return protocol


def check_aliases(aliases: Iterable[str]) -> tuple[str, ...]:
    """Returns SRV aliases such as ``etcd-client``, each once. Raises InvalidService, which names the first bad one."""
    if isinstance(aliases, str):
        raise InvalidService(f"srv {aliases!r}: must be a list of aliases, as in ['etcd-client']")
    found: dict[str, str] = {}
    for alias in aliases:
        if problem := alias_problem(alias):
            raise InvalidService(f"srv {alias!r}: {problem}")
        found.setdefault(fold(alias), alias)
    if len(found) > MAX_ALIASES:
        raise InvalidService(f"srv: {len(found)} aliases; at most {MAX_ALIASES} are allowed for a service")
    if (octets := len(",".join(found))) > MAX_ALIASES_OCTETS:
        raise InvalidService(f"srv: aliases of {octets} octets together; at most {MAX_ALIASES_OCTETS} are allowed")
    return tuple(found.values())


def alias_problem(alias: str) -> str | None:
    """Returns why `alias` is not valid in ``_alias._tcp.NAME``, or None if it is valid (RFC 6335 5.1)."""
    if not isinstance(alias, str):
        return f"an alias must be text, not {type(alias).__name__}"
    if alias.startswith("_"):
        return f"write it without underscore and protocol, as {alias[1:].partition('.')[0]!r}"
    # RFC 6335 allows 15 octets; etcd's aliases with "-ssl" and cluster names are longer.
    if not 0 < len(alias) <= MAX_SERVICE_NAME:
        return f"{len(alias)} characters; must have 1 to {MAX_SERVICE_NAME}"
    if not (alias.isascii() and alias.replace("-", "").isalnum()) or alias.startswith("-") or alias.endswith("-"):
        return "must consist of letters, digits, and hyphens between them"
    return None
