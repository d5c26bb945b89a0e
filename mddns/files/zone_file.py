"""Zone files (RFC 1035 5): text in, offers out. Each SRV record is a service.

    $ORIGIN minidisc.
    @           SOA  ns hostmaster 1 60 10 3600 1   ; skipped, like NS: mddns makes its own
    web         SRV  10 10 8080 alpha               ; or the owner _web._tcp, _web._udp
    web         TXT  "env=prod"                     ; for each web whose target has no TXT
    alpha       A    100.64.0.1

The service's name is the owner's first label, its addresses are the target's A and AAAA records in the same file. All
errors of a file are reported together, each with its line. No file is opened here, so ``$INCLUDE`` is refused.

A whole zone from mddns (a transfer, ``md list -o zone``) has ``_mddns TXT "md.v=1"``. From such a file only the
instances are read: SRV records whose target is their own owner. A record that no file may offer is left out with a
remark.

The reader is our own because no other fits: dnslib does not apply ``$ORIGIN`` to SRV targets and reports no lines;
dnspython stops at the first error, has no line for a record, and would be one more dependency of every process that
embeds a registry. Only the types that have a use here are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, NoReturn

from ..base.errors import BadMessage, ConfigError, InvalidService
from ..base.model import fold, order_addresses
from ..base.names import Name
from ..base.offer import Offer, make
from ..base.validation import (
    MAX_SERVICES,
    OWN_PREFIX,
    check_16_bits,
    check_address,
    check_labels,
    check_port,
    label_problem,
    normal_name,
)
from ..codec.instance_records import spoken_protocol

# Characters. 1,000 services with all their labels take less than 2 million, in a whole zone 4 million.
MAX_TEXT: Final = 9_000_000
MAX_PROBLEMS: Final = 100  # more would not be read

_TOKEN: Final = re.compile(
    r"""(?P<end>\n) | (?P<blank>[ \t\r\f]+|;[^\n]*) | (?P<paren>[()])
      | "(?P<quoted>(?:[^"\\\n]|\\[^\n])*)" | (?P<word>(?:[^\s;()"\\]|\\[^\n])+)""",
    re.VERBOSE,
)
_TTL: Final = re.compile(r"[0-9]+|(?:[0-9]+[smhdw])+", re.IGNORECASE)  # BIND's form 1h30m is in wide use
_ESCAPE: Final = re.compile(rb"\\([0-9]{3})|\\(.)", re.DOTALL)


class _Entry(NamedTuple):
    """One record or directive, without parentheses. ``indented``: it begins with a blank, so it has no owner."""

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
    """Returns the services of a zone file, in its order, and a remark on each record that was skipped.

    ``source`` is the file's name in messages. ``origin`` is the apex: all owners must be under it, and names are
    relative to it until a ``$ORIGIN`` line. Raises ConfigError with all errors of the file.
    """
    zone = _Zone(source, Name.parse(origin.rstrip(".") + "."))
    if len(text) > MAX_TEXT:
        zone.add(1, f"{len(text)} characters; at most {MAX_TEXT} are allowed")
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
    # An empty file is more likely one that is being written than an order to withdraw everything.
    if entry is None and not zone.problems:
        zone.add(1, "there are no records; for no services, write at least an SOA record")
    offers = zone.offers()
    if zone.problems:
        zone.fail()
    return offers, zone.remarks


def _entries(text: str, zone: _Zone) -> Iterator[_Entry]:
    """Splits the text into records. A line that cannot be split is an error, and is left out."""
    text += "\n"
    line, at, opened = 1, 0, 0  # `opened`: the line of an open parenthesis, or 0
    entry = _Entry(line, text[0] in " \t", [])
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            what = "a quote is not closed in its line" if text[at] == '"' else f"{text[at]!r} is not allowed here"
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
                zone.add(line, f"{found['paren']!r} is unexpected; parentheses must come in pairs and cannot be nested")
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
    """What has been read so far: services, and the other records by owner."""

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
        self.nowhere: list[tuple[int, InvalidService]] = []  # line and error of unusable addresses
        self.whole = 0  # the line of ``_mddns TXT "md.v=…"`` in a whole zone, else 0
        self.lines: dict[tuple[str, Name], int] = {}  # the line of each name's first address, and of its first TXT
        self.servers: set[Name] = set()  # the targets of NS records; their addresses are glue
        self.types: Final[dict[str, Callable[[_Record], None]]] = {
            "SRV": self.read_srv,
            "TXT": self.read_txt,
            "A": self.read_address,
            "AAAA": self.read_address,
            "SOA": self.skip,
            "NS": self.skip,
        }

    def add(self, line: int, what: object) -> None:
        """Adds an error. The hundredth ends the reading."""
        text = str(what)
        text = text if len(text) <= 400 else text[:400] + "…"
        self.problems[line, f"{self.source}:{line}: {text}"] = None
        if len(self.problems) >= MAX_PROBLEMS:
            self.fail()

    def fail(self) -> NoReturn:
        """Raises all errors as one ConfigError, in the order of lines."""
        problems = [text for _, text in sorted(self.problems)]
        if len(problems) >= MAX_PROBLEMS:
            problems.append(f"{self.source}: {MAX_PROBLEMS} errors; the rest of the file was not checked")
        raise ConfigError("\n".join(problems), problems) from None

    def name(self, text: str) -> Name:
        return self.origin if text == "@" else Name.parse(text, self.origin)

    def read(self, entry: _Entry) -> None:
        """Reads one record or directive. InvalidService or BadMessage say what is wrong with it."""
        tokens = entry.tokens
        if not entry.indented:
            if tokens[0].startswith("$"):
                return self.directive(tokens[0], tokens[1:])
            self.owner = None  # if the new one is invalid, the indented records below it must not get the old one
            self.owner = self.name(tokens[0])
            tokens = tokens[1:]
        if self.owner is None:
            raise InvalidService(
                "no owner: a line that begins with a blank needs a record before it, whose owner it has"
            )
        if b"*" in self.owner.labels:
            raise InvalidService(f"{self.owner} is a wildcard; a service must have a name")
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
        return InvalidService(f"type {rtype!r}: only {', '.join(self.types)} are supported; remove this record")

    def directive(self, word: str, rest: list[str]) -> None:
        match word.upper(), rest:
            case "$ORIGIN", [token]:
                self.origin = self.name(token)
            case "$TTL", [token] if _TTL.fullmatch(token):
                pass  # ignored: mddns publishes with the TTL of its protocol
            case (("$INCLUDE" | "$GENERATE"), _):
                raise InvalidService(f"{word} is not supported; write its records into this file")
            case _:
                raise InvalidService(f"{word!r}: the supported directives are '$ORIGIN name.' and '$TTL seconds'")

    def skip(self, record: _Record) -> None:
        if record.type == "NS" and len(record.rdata) == 1:
            self.servers.add(self.name(record.rdata[0]))
        self.remarks.append(f"{self.source}:{record.line}: {record.type} skipped; mddns makes its own")

    def read_srv(self, record: _Record) -> None:
        if len(record.rdata) != 4:
            raise InvalidService("SRV needs priority, weight, port and target, as in 'SRV 10 10 8080 alpha'")
        priority = check_16_bits("priority", _number(record.rdata[0]))
        weight = check_16_bits("weight", _number(record.rdata[1]))
        port = check_port(_number(record.rdata[2]))
        self.services.append(_Srv(record.line, record.owner, priority, weight, port, self.name(record.rdata[3])))

    def read_address(self, record: _Record) -> None:
        self.lines.setdefault(("address", record.owner), record.line)
        found = self.addresses.setdefault(record.owner, [])
        text = record.rdata[0] if len(record.rdata) == 1 else ""
        if (":" in text) != (record.type == "AAAA") or not text:
            raise InvalidService("must have one address, as in 'A 100.64.0.1' or 'AAAA fd7a::1'")
        try:
            found.append(check_address(text))
        except InvalidService as error:
            self.nowhere.append((record.line, error))

    def read_txt(self, record: _Record) -> None:
        if not record.rdata:
            raise InvalidService('TXT needs strings, as in \'TXT "env=prod" "shard=2"\'')
        if record.owner.relative_to(self.apex) == (b"_mddns",) and record.rdata[0].startswith("md.v="):
            self.whole = record.line
            return
        self.lines.setdefault(("TXT", record.owner), record.line)
        self.texts.setdefault(record.owner, []).append(record)

    def read_labels(self, owner: Name) -> None:
        """Reads the labels in the TXT records of a name."""
        found = self.labels.setdefault(owner, {})
        for record in self.texts[owner]:
            for token in record.rdata:
                try:
                    key, _, value = _characters(token).partition("=")
                    if self.whole and key == "md.srv":
                        self.aliases[owner] = value.split(",")
                    if fold(key).startswith(OWN_PREFIX) or not (key or value):
                        continue  # a key of mddns itself, or the empty string for no labels (RFC 6763 6.1)
                    if problem := label_problem(key, value):
                        raise InvalidService(f"label {key!r}: {problem}")
                    if found.setdefault(key, value) != value:
                        raise InvalidService(
                            f"label {key!r}: another TXT string of {owner} has the value {found[key]!r}; remove one"
                        )
                except InvalidService as error:
                    self.fault(record.line, error)

    def fault(self, line: int, what: object) -> None:
        """Adds an error; in a whole zone, which users do not edit, only a remark that this is left out."""
        if self.whole:
            self.remarks.append(f"{self.source}:{line}: left out: {what}")
        else:
            self.add(line, what)

    def take_instances(self) -> None:
        """Keeps only the instances of a whole zone."""
        self.remarks.append(
            f"{self.source}:{self.whole}: this is a whole zone; only its instances are read, mddns derives the rest"
        )
        self.services = [srv for srv in self.services if srv.owner == srv.target and self.instance(srv)]
        owners = {srv.owner for srv in self.services}
        self.texts = {owner: records for owner, records in self.texts.items() if owner in owners}
        self.lines = {key: line for key, line in self.lines.items() if key[1] in owners}

    def instance(self, srv: _Srv) -> tuple[bytes, bytes] | None:
        """The instance label and the service name of an instance; None if this is no instance."""
        labels = srv.target.relative_to(self.apex) or ()
        return (labels[0], labels[1]) if len(labels) == 2 and not labels[1].startswith(b"_") else None

    def offers(self) -> list[Offer]:
        """Makes offers of the records, and adds the errors that need all records to be found."""
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
        sound = not self.problems  # otherwise records that a wrong SRV needs would seem unused
        for (kind, name), line in self.lines.items():
            if sound and name not in used[kind]:
                self.add(
                    line, f"no SRV record uses this {kind} of {name}; remove it, or add the SRV record that uses it"
                )
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
                self.add(srv.line, f"{offer.name!r} has this address in {other.where} already; remove one of them")
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
                raise InvalidService(
                    f"{srv.owner}: the owner of a service must be like web.{self.apex} or _web._tcp.{self.apex}"
                )
        name = normal_name(label.decode(errors="surrogateescape"))
        addresses = order_addresses(self.addresses.get(srv.target, ()))
        if not addresses and (self.whole or srv.target not in self.addresses):
            raise InvalidService(f"no address of the target {srv.target} is in this file; {self.remedy(srv.target)}")
        return make(
            srv.port,
            name,
            self.labels.get(srv.target, self.labels.get(srv.owner)),
            address=next(iter(addresses), None),  # None: all its addresses are wrong, which is reported already
            protocol=protocol,
            priority=srv.priority,
            weight=srv.weight,
            addresses=addresses,
            srv=self.aliases.get(srv.target, ()),
            where=f"{self.source}:{srv.line}",
        )

    def remedy(self, target: Name) -> str:
        """What the user can do about a target without an address."""
        host = target.relative_to(self.apex)
        if not host:
            return f"name a host under {self.apex}"
        if target.key.endswith(self.apex.key[:-1] + self.apex.key):
            return "the name lacks its final dot"
        return f"add '{target} A 100.64.0.1', with its address"


def _split(tokens: list[str]) -> tuple[str, list[str]]:
    """The type and the RDATA. TTL and class may precede them in either order, and are ignored."""
    for at, token in enumerate(tokens):
        word = token.upper()
        if word in ("CH", "HS", "CS"):
            raise InvalidService(f"class {word}: only IN is supported")
        if word != "IN" and not _TTL.fullmatch(word):
            return word, tokens[at + 1 :]
    raise InvalidService("there is no record type, as in 'web SRV 10 10 8080 alpha'")


def _number(token: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", token):
        raise InvalidService(
            f"{token!r} is no number; SRV needs three numbers and a target, as in 'SRV 10 10 8080 alpha'"
        )
    return int(token)


def _characters(text: str) -> str:
    """Decodes ``\\DDD`` and ``\\X`` in a character-string."""

    def octet(escape: re.Match[bytes]) -> bytes:
        if escape[2]:
            return escape[2]
        if int(escape[1]) > 255:
            raise InvalidService(f"\\{escape[1].decode()} is no octet; it must be \\000 to \\255")
        return bytes((int(escape[1]),))

    return _ESCAPE.sub(octet, text.encode(errors="surrogateescape")).decode(errors="surrogateescape")
