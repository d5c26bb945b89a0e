"""Reads and writes Minidisc's HTTP messages: octets in, octets out.

The response to ``GET /services`` is ``[{"name": …, "labels": {…}, "addrPort": "ip:port"}, …]``. The sender is not
trusted: a bad entry is left out without the rest of the list, a bad label without the rest of its entry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from ..base.errors import InvalidService
from ..base.model import DEFAULT_PRIORITY, DEFAULT_WEIGHT, Peer, Service, fold, join_address, split_address
from ..base.policy import MAX_FROM_PEER
from ..base.validation import MAX_LABEL_OCTETS, MAX_SERVICE_LABELS, check_address, label_problem, normal_name
from .answer import Told
from .instance_records import Attributes

MOST_OCTETS: Final = 2 << 20  # of a complete response
_MOST_HEAD: Final = 16 << 10
_DELEGATE_OCTETS: Final = 1024


class _Problems:
    """The number of problems, and the first of them: a hostile list may have any number."""

    def __init__(self) -> None:
        self.count = 0
        self.first = ""

    def add(self, problem: str) -> None:
        self.first = self.first or problem[:200]
        self.count += 1


class Listed(NamedTuple):
    """The services of a list. `left_out` counts problems: entries and labels that are left out; `why` is the first."""

    told: tuple[Told, ...]
    left_out: int = 0
    why: str = ""


def request(method: str, path: str, host: str, body: bytes = b"") -> bytes:
    """Returns an HTTP/1.0 request: its response has no chunks, and ends with the connection (RFC 1945)."""
    head = f"{method} {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n"
    if method == "POST":
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def read_response(octets: bytes, *, ended: bool) -> tuple[int, bytes] | None:
    """Returns status and body, None while the response is incomplete. Raises ValueError if it is malformed.

    `ended`: the server has closed the connection.
    """
    if not b"HTTP/1.".startswith(octets[:7]):
        raise ValueError("this is not an HTTP response")
    head, blank, body = octets.partition(b"\r\n\r\n")
    if not blank:
        if ended or len(octets) > _MOST_HEAD:
            raise ValueError("the head of the HTTP response is incomplete or too long")
        return None
    first, *lines = head.split(b"\r\n")
    status = first[9:12]
    if first[8:9] != b" " or not status.isdigit():
        raise ValueError("an HTTP response without a status")
    fields = {key.strip().lower(): value.strip() for key, _, value in (line.partition(b":") for line in lines)}
    if b"transfer-encoding" in fields:
        raise ValueError("a chunked response, which HTTP/1.0 does not allow")
    length = fields.get(b"content-length")
    if length is not None:
        if not length.isdigit() or len(length) > 9 or int(length) > MOST_OCTETS:
            raise ValueError(
                f"an HTTP response with Content-Length {length[:20]!r}; it must be a number, at most {MOST_OCTETS}"
            )
        if len(body) >= int(length):
            return int(status), body[: int(length)]
        if ended:
            raise ValueError("the body of the HTTP response is incomplete")
        return None
    if len(body) > MOST_OCTETS:
        raise ValueError("the body of the HTTP response is too long")
    return (int(status), body) if ended else None


def read_services(body: bytes, peer: Peer) -> Listed:
    """Returns the services that `peer` lists. Raises ValueError if the body is not a list.

    The instance's label is empty, because it depends on the other nodes of the network. Loopback and link-local
    addresses are valid on one machine or link only, so they are left out, except the peer's own.
    """
    if len(body) > MOST_OCTETS:
        raise ValueError(f"a list of {len(body)} octets; at most {MOST_OCTETS} are allowed")
    try:
        entries = json.loads(body.decode())
    except RecursionError:
        raise ValueError("the list of services is nested too deeply") from None
    if not isinstance(entries, list):
        raise ValueError("the body is not a list of services")
    told: list[Told] = []
    problems = _Problems()
    for entry in entries[:MAX_FROM_PEER]:
        try:
            told.append(_read_entry(entry, peer, problems))
        except ValueError as error:
            problems.add(str(error))
    for _ in entries[MAX_FROM_PEER:]:
        problems.add(f"more than {MAX_FROM_PEER} services")
    return Listed(tuple(told), problems.count, problems.first)


def _read_entry(entry: Any, peer: Peer, problems: _Problems) -> Told:
    """Reads one entry. Raises ValueError if it is not a service. Adds invalid labels to `problems`."""
    if not isinstance(entry, dict):
        raise ValueError("an entry is not a JSON object")
    name = entry.get("name")
    if not isinstance(name, str):
        raise ValueError("an entry has no name")
    name = normal_name(name)
    where = entry.get("addrPort")
    if not isinstance(where, str):
        raise ValueError(f"service {name!r}: no addrPort")
    address, port = split_address(where)
    address = check_address(address)
    from ipaddress import ip_address  # slow to load, and only networks with Minidisc need it

    parsed = ip_address(address)
    if address not in peer.addresses and (parsed.is_loopback or parsed.is_link_local):
        raise ValueError(f"service {name!r}: {address} is valid on one machine or link only")
    labels = entry.get("labels")
    if not isinstance(labels, dict | None):
        raise ValueError(f"service {name!r}: labels must be a JSON object")
    kept = _labels(name, labels or {}, problems)
    return Told(name, "", DEFAULT_PRIORITY, DEFAULT_WEIGHT, port, (address,), Attributes(kept, None, ()))


def _labels(name: str, labels: dict[str, Any], problems: _Problems) -> dict[str, str]:
    kept: dict[str, str] = {}
    seen: set[str] = set()
    left = MAX_LABEL_OCTETS
    for key, value in labels.items():
        problem = label_problem(key, value)
        if problem is None:
            octets = 2 + len(key) + len(value.encode())
            if fold(key) in seen:
                problem = "another label has the same key in another case"
            elif len(kept) == MAX_SERVICE_LABELS or octets > left:
                problem = f"a service has at most {MAX_SERVICE_LABELS} labels, of {MAX_LABEL_OCTETS} octets together"
        if problem is not None:
            problems.add(f"service {name!r}: label {key!r}: {problem}")
            continue
        left -= octets
        seen.add(fold(key))
        kept[key] = value
    return kept


def beside_dns(listed: Iterable[Told], name: str | None, known: tuple[Told, ...]) -> tuple[Told, ...]:
    """Adds the new services of a peer's list (of `name`, in lower case) to `known`, those of its DNS answer."""
    there = {(fold(each.name), each.port, address) for each in known for address in each.addresses}
    of_name = (each for each in listed if name is None or fold(each.name) == name)
    new = (each for each in of_name if (fold(each.name), each.port, each.addresses[0]) not in there)
    return (*known, *new)[:MAX_FROM_PEER]


def write_services(services: Iterable[Service]) -> bytes:
    """Returns services as a Minidisc list. It has no protocols, so an endpoint with both is listed once."""
    entries = {
        (service.name, str(service.endpoint)): {
            "name": service.name,
            "labels": {key: _text(value) for key, value in service.labels.items()},
            "addrPort": str(service.endpoint),
        }
        for service in services
    }
    return json.dumps(list(entries.values())).encode()


def _text(value: str) -> str:
    # Octets that are not UTF-8 are lone surrogates here; with one of them, Minidisc would reject the whole list.
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def write_delegate(address: str, port: int) -> bytes:
    """The body of ``POST /add-delegate``."""
    return json.dumps({"addrPort": join_address(address, port)}).encode()


def read_delegate(body: bytes) -> tuple[str, int]:
    """Returns address and port in the body of ``POST /add-delegate``. Raises ValueError if it is malformed."""
    if len(body) > _DELEGATE_OCTETS:
        raise ValueError(f"a body of {len(body)} octets; at most {_DELEGATE_OCTETS} are allowed")
    try:
        data = json.loads(body.decode())
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    where = data.get("addrPort") if isinstance(data, dict) else None
    if not isinstance(where, str):
        raise ValueError('the body must be {"addrPort": "ip:port"}')
    address, port = split_address(where)
    try:
        return check_address(address), port
    except InvalidService as error:
        raise ValueError(str(error)) from None
