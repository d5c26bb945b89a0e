"""Master files (RFC 1035 5): text in, offers out. Each SRV record is a service.

    $ORIGIN minidisc.
    @           SOA  ns hostmaster 1 60 10 3600 1   ; skipped, as NS is: mddns makes its own
    web         SRV  10 10 8080 alpha               ; or _web._tcp, _web._udp
    web         TXT  "env=prod"                     ; for each web, but those whose target has a TXT
    alpha       A    100.64.0.1

A name is the owner's first label, an address the target's A and AAAA in the same file. All faults of a
file come together, each with its line. No file is opened here, so ``$INCLUDE`` is refused.

A whole zone as mddns tells it (a transfer, ``md list -o zone``) has ``_mddns TXT "md.v=1"``. Of such a file the
instances are read, SRV records that point at themselves; what no file may offer is left out with a word.

The reader is our own because none fits: dnslib's leaves SRV targets without their ``$ORIGIN`` and knows
no lines, dnspython's stops at the first fault, has no line for a record, and would be one more dependency
of every process that embeds a registry. Of the types only those that mean something here are known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, NoReturn

from ..base.errors import BadMessage, ConfigError, InvalidService
from ..base.grammar import (
    MAX_SERVICES,
    OWN_PREFIX,
    check_16_bits,
    check_address,
    check_labels,
    check_port,
    label_problem,
    normal_name,
)
from ..base.model import fold, order_addresses
from ..base.names import Name
from ..base.offer import Offer, make
from ..codec.instance import spoken_protocol

MAX_TEXT: Final = 9_000_000  # characters; 1,000 services with all their labels are under 2 million, told whole four
MAX_PROBLEMS: Final = 100  # nobody reads more

_TOKEN: Final = re.compile(
    r"""(?P<end>\n) | (?P<blank>[ \t\r\f]+|;[^\n]*) | (?P<paren>[()])
      | "(?P<quoted>(?:[^"\\\n]|\\[^\n])*)" | (?P<word>(?:[^\s;()"\\]|\\[^\n])+)""",
    re.VERBOSE,
)
_TTL: Final = re.compile(r"[0-9]+|(?:[0-9]+[smhdw])+", re.IGNORECASE)  # BIND's 1h30m is widespread
_ESCAPE: Final = re.compile(rb"\\([0-9]{3})|\\(.)", re.DOTALL)


class _Entry(NamedTuple):
    """One record or directive, parentheses undone. ``indented`` is one that leaves out its owner."""

    line: int
    indented: bool
    tokens: list[str]


class _Record(NamedTuple):
    line: int
    owner: Name
    type: str
    rdata: list[str]


class _Srv(NamedTuple):
    line: int
    owner: Name
    priority: int
    weight: int
    port: int
    target: Name


def read_zone(text: str, source: str, origin: str) -> tuple[list[Offer], list[str]]:
    """The services of a zone file, in its order, and a word on each record that was skipped.

    ``source`` is what messages call the file, ``origin`` the apex: all owners must be under it, and
    relative names hang from it until the file says ``$ORIGIN``. Raises ConfigError with every fault
    that the file has.
    """
    zone = _Zone(source, Name.parse(origin.rstrip(".") + "."))
    if len(text) > MAX_TEXT:
        zone.add(1, f"{len(text)} characters; at most {MAX_TEXT} are read")
        zone.fail()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        zone.add(line, f"{text[error.start]!r} is not valid UTF-8; save the file as UTF-8")
        zone.fail()
    entry = None
    for entry in _entries(text.removeprefix("\ufeff"), zone):
        try:
            zone.read(entry)
        except (InvalidService, BadMessage) as error:
            zone.add(entry.line, error)
    if (
        entry is None and not zone.problems
    ):  # a file that is just being written, more likely than one that means to withdraw everything
        zone.add(1, "no records; a zone without services has a SOA at least")
    offers = zone.offers()
    if zone.problems:
        zone.fail()
    return offers, zone.remarks


def _entries(text: str, zone: _Zone) -> Iterator[_Entry]:
    """The text cut into records; what cannot be cut is noted, and its line left out."""
    text += "\n"
    line, at, opened = 1, 0, 0  # `opened` is the line of an open parenthesis
    entry = _Entry(line, text[0] in " \t", [])
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            what = "a quote that is not closed in its line" if text[at] == '"' else f"{text[at]!r} cannot stand here"
            zone.add(line, what)
            at = text.index("\n", at)
            entry.tokens.clear()
            continue
        at = found.end()
        if found["word"] or found["quoted"] is not None:
            if not entry.tokens:
                entry = entry._replace(line=line)
            entry.tokens.append(found["word"] or found["quoted"])
        elif found["paren"]:
            if (found["paren"] == "(") == bool(opened):
                zone.add(line, f"{found['paren']!r} is one too many; parentheses come in pairs and do not nest")
            opened = line if found["paren"] == "(" else 0
        elif found["end"]:
            line += 1
            if not opened:
                if entry.tokens:
                    yield entry
                entry = _Entry(line, text[at : at + 1] in (" ", "\t"), [])
    if opened:
        zone.add(opened, "'(' is not closed")


class _Zone:
    """What was read so far: services, and what hangs from names."""

    def __init__(self, source: str, apex: Name) -> None:
        self.source = source
        self.apex = self.origin = apex
        self.owner: Name | None = None
        self.problems: dict[tuple[int, str], None] = {}
        self.remarks: list[str] = []
        self.services: list[_Srv] = []
        self.addresses: dict[Name, list[str]] = {}
        self.texts: dict[Name, list[_Record]] = {}
        self.labels: dict[Name, dict[str, str]] = {}
        self.aliases: dict[Name, list[str]] = {}
        self.pointers: list[int] = []  # lines
        self.nowhere: list[tuple[int, InvalidService]] = []  # lines of addresses that nobody can connect to
        self.whole = 0  # the line that says so
        self.lines: dict[tuple[str, Name], int] = {}  # where each name got its first address, its first TXT
        self.servers: set[Name] = set()  # of NS, whose addresses are glue
        self.types: Final[dict[str, Callable[[_Record], None]]] = {
            "SRV": self.read_srv,
            "TXT": self.read_txt,
            "A": self.read_address,
            "AAAA": self.read_address,
            "SOA": self.skip,
            "NS": self.skip,
        }

    def add(self, line: int, what: object) -> None:
        """Note a fault. The hundredth ends the reading."""
        text = str(what)
        text = text if len(text) <= 400 else text[:400] + "…"
        self.problems[line, f"{self.source}:{line}: {text}"] = None
        if len(self.problems) >= MAX_PROBLEMS:
            self.fail()

    def fail(self) -> NoReturn:
        """Raise what was noted, in the order of lines."""
        problems = [text for _, text in sorted(self.problems)]
        if len(problems) >= MAX_PROBLEMS:
            problems.append(f"{self.source}: {MAX_PROBLEMS} faults, and the rest was not looked at")
        raise ConfigError("\n".join(problems), problems) from None

    def name(self, text: str) -> Name:
        return self.origin if text == "@" else Name.parse(text, self.origin)

    def read(self, entry: _Entry) -> None:
        """One record or directive; InvalidService or BadMessage say what is wrong with it."""
        tokens = entry.tokens
        if not entry.indented:
            if tokens[0].startswith("$"):
                return self.directive(tokens[0], tokens[1:])
            self.owner = None  # where it is wrong, the records below that leave it out have none
            self.owner = self.name(tokens[0])
            tokens = tokens[1:]
        if self.owner is None:
            raise InvalidService("no owner: a line that begins with a blank has the owner of the record before it")
        if b"*" in self.owner.labels:
            raise InvalidService(f"{self.owner} is a wildcard; each service has a name")
        if self.owner.relative_to(self.apex) is None:
            raise InvalidService(f"{self.owner} is outside of {self.apex}, the domain that is served (--domain)")
        record = _Record(entry.line, self.owner, *_split(tokens))
        if record.type == "PTR":
            self.pointers.append(record.line)
            return None
        if record.type not in self.types:
            raise self.unread(record.type)
        return self.types[record.type](record)

    def unread(self, rtype: str) -> InvalidService:
        return InvalidService(f"type {rtype!r}: only {', '.join(self.types)} are read; remove this record")

    def directive(self, word: str, rest: list[str]) -> None:
        match word.upper(), rest:
            case "$ORIGIN", [token]:
                self.origin = self.name(token)
            case "$TTL", [token] if _TTL.fullmatch(token):
                pass  # what mddns publishes has the TTL of its protocol
            case (("$INCLUDE" | "$GENERATE"), _):
                raise InvalidService(f"{word} is not read; write its records into this file")
            case _:
                raise InvalidService(f"{word!r}: the directives are '$ORIGIN name.' and '$TTL seconds'")

    def skip(self, record: _Record) -> None:
        if record.type == "NS" and len(record.rdata) == 1:
            self.servers.add(self.name(record.rdata[0]))
        self.remarks.append(f"{self.source}:{record.line}: {record.type} skipped; mddns makes its own")

    def read_srv(self, record: _Record) -> None:
        if len(record.rdata) != 4:
            raise InvalidService("SRV takes priority, weight, port and target, as in 'SRV 10 10 8080 alpha'")
        priority = check_16_bits("priority", _number(record.rdata[0]))
        weight = check_16_bits("weight", _number(record.rdata[1]))
        port = check_port(_number(record.rdata[2]))
        self.services.append(_Srv(record.line, record.owner, priority, weight, port, self.name(record.rdata[3])))

    def read_address(self, record: _Record) -> None:
        self.lines.setdefault(("address", record.owner), record.line)
        found = self.addresses.setdefault(record.owner, [])
        text = record.rdata[0] if len(record.rdata) == 1 else ""
        if (":" in text) != (record.type == "AAAA") or not text:
            raise InvalidService("one address is wanted, as in 'A 100.64.0.1' or 'AAAA fd7a::1'")
        try:
            found.append(check_address(text))
        except InvalidService as error:
            self.nowhere.append((record.line, error))

    def read_txt(self, record: _Record) -> None:
        if not record.rdata:
            raise InvalidService('TXT takes strings, as in \'TXT "env=prod" "shard=2"\'')
        if record.owner.relative_to(self.apex) == (b"_mddns",) and record.rdata[0].startswith("md.v="):
            self.whole = record.line
            return
        self.lines.setdefault(("TXT", record.owner), record.line)
        self.texts.setdefault(record.owner, []).append(record)

    def read_labels(self, owner: Name) -> None:
        """The labels that a name's TXT records say."""
        found = self.labels.setdefault(owner, {})
        for record in self.texts[owner]:
            for token in record.rdata:
                try:
                    key, _, value = _characters(token).partition("=")
                    if self.whole and key == "md.srv":
                        self.aliases[owner] = value.split(",")
                    if fold(key).startswith(OWN_PREFIX) or not (key or value):
                        continue  # mddns's own, and the empty string that stands for no labels (RFC 6763 6.1)
                    if problem := label_problem(key, value):
                        raise InvalidService(f"label {key!r}: {problem}")
                    if found.setdefault(key, value) != value:
                        raise InvalidService(f"label {key!r}: {found[key]!r} is what another string of {owner} says")
                except InvalidService as error:
                    self.fault(record.line, error)

    def fault(self, line: int, what: object) -> None:
        """Something that cannot be offered: a fault, but where nobody can mend it."""
        if self.whole:
            self.remarks.append(f"{self.source}:{line}: left out: {what}")
        else:
            self.add(line, what)

    def take_instances(self) -> None:
        """Leaves nothing but the instances of a whole zone."""
        self.remarks.append(f"{self.source}:{self.whole}: a whole zone; its instances are read, the rest is derived")
        self.services = [srv for srv in self.services if srv.owner == srv.target and self.instance(srv)]
        owners = {srv.owner for srv in self.services}
        self.texts = {owner: records for owner, records in self.texts.items() if owner in owners}
        self.lines = {key: line for key, line in self.lines.items() if key[1] in owners}

    def instance(self, srv: _Srv) -> tuple[bytes, bytes] | None:
        """The labels of an instance: its own, and the service's name."""
        labels = srv.target.relative_to(self.apex) or ()
        return (labels[0], labels[1]) if len(labels) == 2 and not labels[1].startswith(b"_") else None

    def offers(self) -> list[Offer]:
        """What the records amount to; faults that only all of them show are noted."""
        if self.whole:
            self.take_instances()
        for line in self.pointers if not self.whole else ():
            self.add(line, self.unread("PTR"))
        for line, error in self.nowhere:
            self.fault(line, error)
        for owner in self.texts:
            self.read_labels(owner)
        targets = {srv.target for srv in self.services}
        used = {"address": targets | self.servers, "TXT": targets | {srv.owner for srv in self.services}}
        sound = not self.problems  # else what is needed by a faulty SRV would seem to be needed by none
        for (kind, name), line in self.lines.items():
            if sound and name not in used[kind]:
                self.add(line, f"no SRV needs this {kind} of {name}; remove it, or add the SRV that does")
        for name, labels in self.labels.items():
            try:
                check_labels(labels)
            except InvalidService as error:
                self.fault(self.lines["TXT", name], error)
                self.labels[name] = {}
        if len(self.services) > MAX_SERVICES:
            line = self.services[MAX_SERVICES].line
            self.add(line, f"{len(self.services)} services; a host offers at most {MAX_SERVICES}")
        found: dict[object, Offer] = {}
        for srv in self.services:
            try:
                offer = self.offer(srv)
            except InvalidService as error:
                self.fault(srv.line, error)
                continue
            key = (fold(offer.name), offer.address, offer.port, offer.protocol)
            if (other := found.setdefault(key, offer)) is not offer:
                self.add(srv.line, f"{offer.name!r} has this address in {other.where} already; drop one")
        return list(found.values())

    def offer(self, srv: _Srv) -> Offer:
        match srv.owner.relative_to(self.apex):
            case (_, _) if self.whole and (instance := self.instance(srv)):
                label = instance[1]
                protocol = spoken_protocol(instance[0].decode(errors="surrogateescape"), srv.port)
            case (label,):
                protocol = "tcp"
            case (label, under) if label[:1] == b"_" and under.lower() in (b"_tcp", b"_udp"):
                label, protocol = label[1:], under[1:].lower().decode()
            case _:
                raise InvalidService(f"{srv.owner}: a service is web.{self.apex} or _web._tcp.{self.apex}")
        name = normal_name(label.decode(errors="surrogateescape"))
        addresses = order_addresses(self.addresses.get(srv.target, ()))
        if not addresses and (self.whole or srv.target not in self.addresses):
            raise InvalidService(f"no address of the target {srv.target} is in this file; {self.remedy(srv.target)}")
        return make(
            srv.port,
            name,
            self.labels.get(srv.target, self.labels.get(srv.owner)),
            address=next(iter(addresses), None),  # none: its only ones are faulty, which was said where they are
            protocol=protocol,
            priority=srv.priority,
            weight=srv.weight,
            addresses=addresses,
            srv=self.aliases.get(srv.target, ()),
            where=f"{self.source}:{srv.line}",
        )

    def remedy(self, target: Name) -> str:
        """What to do about a target without address."""
        host = target.relative_to(self.apex)
        if not host:
            return f"name a host under {self.apex}"
        if target.key.endswith(self.apex.key[:-1] + self.apex.key):
            return "the name lacks its final dot"
        return f"add '{target} A 100.64.0.1', with its address"


def _split(tokens: list[str]) -> tuple[str, list[str]]:
    """The type and the RDATA; TTL and class may stand before them in either order, and say nothing here."""
    for at, token in enumerate(tokens):
        word = token.upper()
        if word in ("CH", "HS", "CS"):
            raise InvalidService(f"class {word}: only IN is read")
        if word != "IN" and not _TTL.fullmatch(word):
            return word, tokens[at + 1 :]
    raise InvalidService("no record type, as in 'web SRV 10 10 8080 alpha'")


def _number(token: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", token):
        raise InvalidService(f"{token!r} is no number; SRV takes three and a target, as in 'SRV 10 10 8080 alpha'")
    return int(token)


def _characters(text: str) -> str:
    """A character-string with ``\\DDD`` and ``\\X`` undone."""

    def octet(escape: re.Match[bytes]) -> bytes:
        if escape[2]:
            return escape[2]
        if int(escape[1]) > 255:
            raise InvalidService(f"\\{escape[1].decode()} is no octet: 000 to 255 are")
        return bytes((int(escape[1]),))

    return _ESCAPE.sub(octet, text.encode(errors="surrogateescape")).decode(errors="surrogateescape")
