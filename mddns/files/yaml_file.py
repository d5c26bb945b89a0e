"""Minidisc's YAML: text in, offers out.

    services:
      - name: web
        address: :8080            # this node; or 100.64.0.9:5432, "[fd7a::9]:5432"
        labels: {env: prod}
        protocol: tcp             # this key and those below are extensions: Minidisc has the three above
        priority: 10
        weight: 10
        addresses: [100.64.0.1]   # the instance's A and AAAA records
        srv: [etcd-client]        # can also be found as _etcd-client._tcp.web.minidisc
        check: /healthz           # offered only while this check passes: see mddns/base/health_check.py

Scalars stay text as written (``version: 1.10`` is "1.10", ``region: no`` is "no"): the file is read as YAML *events*.
Events have lines but no types, and reading can stop before deeply nested brackets or aliases cost time or memory. All
errors of a file are reported together, each with file, line and key. No file is opened here, and
:mod:`mddns.base.validation` checks names and values.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

import yaml

from ..base.errors import ConfigError, InvalidService
from ..base.health_check import CHECK_KEYS, Check
from ..base.model import fold, order_addresses
from ..base.offer import Offer, make, parse_address
from ..base.validation import (
    MAX_ALIASES,
    MAX_SERVICE_LABELS,
    MAX_SERVICES,
    check_16_bits,
    check_address,
    check_aliases,
    check_labels,
    check_protocol,
    normal_name,
)

MAX_TEXT: Final = 3_000_000  # characters; a host's 1,000 services with all their labels take less than 2 million
MAX_DEPTH: Final = 16  # a correct file has four levels
MAX_ADDRESSES: Final = 64  # of one service
MAX_PROBLEMS: Final = 100  # more would not be read, and aliases could make many out of a few lines

_TOO_DEEP: Final = f"more than {MAX_DEPTH} levels deep; a correct file has four"
_LOADER: Final[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # libyaml if available: many times faster
_TAGS: Final = (None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_NOTHING: Final = ("", "~", "null")  # empty where a list or a mapping is expected; as a label's value they are text
_BRACKETS: Final = re.compile(r"[\[{\]}]|[-?](?=\s)")  # may begin or end a level, unless in quotes
# Characters that YAML does not allow. They are searched for here because libyaml's error has no line.
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
# Keys of other programs, for which similar spelling would suggest a wrong key ("port" is near "protocol").
_ELSEWHERE: Final = {
    **dict.fromkeys(("port", "host", "ip", "addrport", "endpoint", "url"), "address"),
    **dict.fromkeys(("tags", "tag", "meta", "txt", "annotations"), "labels"),
}
# The most frequent causes of a YAML parser's error, by a pattern of the line.
_SLIPS: Final = (
    (r"(?m)^ *\t", "there is a tab; YAML must be indented with spaces"),
    (r":\s*\[[^]]*\]:", "write an IPv6 address in quotes, as in '[fd7a::9]:5432'"),
    (r"[{,]\s*address:\s+:", "between { and }, write an address in quotes, as in ':8080'"),
)

_Value: TypeAlias = "str | list[_Node] | dict[str, _Node]"


def read_config(text: str, source: str) -> list[Offer]:
    """Returns the services of a YAML file, in its order. ``source`` is the file's name in error messages.

    Raises ConfigError with all errors of the file.
    """
    file = _File(source)
    root = _Composer(file, text.removeprefix("\ufeff")).document()
    try:
        keys = file.entries(root)
    except InvalidService as error:
        file.stop(root.line, "", f"{error}; the file must begin with 'services:' and the list of services")
    for key, node in keys.items():
        if key != "services":
            file.add(node.line, node.path, _unknown(key, ("services",)))
    if "services" not in keys:
        file.stop(root.line, "", "there is no 'services:' at the top level; it holds the list of services")
    offers = _offers(file, keys["services"])
    if file.problems:
        file.fail()
    return offers


def _offers(file: _File, node: _Node) -> list[Offer]:
    try:
        items = file.items(node, MAX_SERVICES)
    except InvalidService as error:
        file.stop(node.line, node.path, error)
    found: dict[object, Offer] = {}
    for item in items:
        if offer := _offer(file, item):
            key = (fold(offer.name), offer.address, offer.port, offer.protocol)
            if (other := found.setdefault(key, offer)) is not offer:
                file.add(
                    item.line,
                    item.path,
                    f"{offer.name!r} has this address in {other.where} already; remove one of them",
                )
    return list(found.values())


def _offer(file: _File, node: _Node) -> Offer | None:
    """Reads one entry of ``services``. None if it has errors, which are added to `file`."""
    try:
        entry = file.entries(node)
    except InvalidService as error:
        file.add(node.line, node.path, error)
        return None
    before = file.noted
    values: dict[str, Any] = {}
    for key, child in entry.items():
        try:
            if key not in SERVICE_KEYS:
                raise InvalidService(_unknown(key, SERVICE_KEYS))
            values[key] = SERVICE_KEYS[key](file, child)
        except InvalidService as error:
            file.add(child.line, child.path, error)
    for key, example in (("name", "web"), ("address", ":8080")):
        if key not in entry:
            file.add(
                node.line, node.path, f"there is no {key!r}; every service must have one, as in '{key}: {example}'"
            )
    if file.noted > before:
        return None
    address, port = values.pop("address")
    try:
        return make(port, values.pop("name"), address=address, where=f"{file.source}:{node.line}", **values)
    except InvalidService as error:
        file.add(node.line, node.path, error)
        return None


def _labels(file: _File, node: _Node) -> dict[str, str]:
    entries = file.entries(node)
    if len(entries) > MAX_SERVICE_LABELS:
        raise InvalidService(f"{len(entries)} labels; at most {MAX_SERVICE_LABELS} are allowed for a service")
    labels: dict[str, str] = {}
    for key, child in entries.items():
        try:
            labels[key] = file.text(child)
        except InvalidService as error:
            file.add(child.line, child.path, error)
    try:
        return check_labels(labels)
    except InvalidService:
        pass
    good: dict[str, str] = {}  # one at a time, so that each error has its own line
    for key, value in labels.items():
        try:
            good = check_labels({**good, key: value})
        except InvalidService as error:
            file.add(entries[key].line, entries[key].path, error)
    return good


def _addresses(file: _File, node: _Node) -> tuple[str, ...]:
    found: list[str] = []
    for child in file.items(node, MAX_ADDRESSES):
        try:
            found.append(check_address(file.text(child)))
        except InvalidService as error:
            file.add(child.line, child.path, error)
    return order_addresses(found)


def _aliases(file: _File, node: _Node) -> tuple[str, ...]:
    # A single alias may be written without brackets.
    children = [node] if isinstance(node.value, str) and node.value not in _NOTHING else file.items(node, MAX_ALIASES)
    found: list[str] = []
    for child in children:
        try:
            found += check_aliases([file.text(child)])
        except InvalidService as error:
            file.add(child.line, child.path, error)
    return check_aliases(found)


def _check(file: _File, node: _Node) -> Check | None:
    if not isinstance(node.value, dict):
        text = file.text(node)
        return None if text in _NOTHING else Check.of(text)
    values: dict[str, str] = {}
    before = file.noted
    for key, child in node.value.items():
        try:
            if key not in CHECK_KEYS:
                raise InvalidService(_unknown(key, CHECK_KEYS))
            values[key] = file.text(child)
        except InvalidService as error:
            file.add(child.line, child.path, error)
    if file.noted > before:
        return None
    try:
        return Check.of(values)
    except InvalidService as error:
        # If the error is about one key, report the line of that key.
        field = str(error).removeprefix("check: ").partition(" ")[0]
        about = node.value.get(field, node)
        file.add(about.line, about.path, error)
        return None


def _number(field: str) -> Callable[[_File, _Node], int]:
    def read(file: _File, node: _Node) -> int:
        text = file.text(node)
        if not re.fullmatch("[0-9]{1,9}", text):
            raise InvalidService(f"{text!r}: must be a whole number from 0 to 65535")
        return check_16_bits(field, int(text))

    return read


# The keys of an entry, and how each is read. The result is the argument of `offer.make` with the same name.
SERVICE_KEYS: Final[dict[str, Callable[[_File, _Node], object]]] = {
    "name": lambda file, node: normal_name(file.text(node)),
    "address": lambda file, node: parse_address(file.text(node)),
    "labels": _labels,
    "protocol": lambda file, node: check_protocol(file.text(node)),
    "priority": _number("priority"),
    "weight": _number("weight"),
    "addresses": _addresses,
    "srv": _aliases,
    "check": _check,
}


def _unknown(key: str, known: Collection[str]) -> str:
    likely = _ELSEWHERE.get(key := fold(key[:80]))
    if likely not in known:
        likely = next(iter(difflib.get_close_matches(key, known, 1)), None)
    return f"unknown key; did you mean {likely!r}?" if likely else f"unknown key; known are {', '.join(known)}"


@dataclass(frozen=True, slots=True)
class _Node:
    """One value at one place. An alias has its own line and path, and shares the value with its anchor."""

    line: int
    path: str
    value: _Value


class _File:
    """The state of reading one file: its errors so far, and how much may still be read."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: dict[tuple[int, str], None] = {}  # each error once, even if aliases repeat it
        self.noted = 0
        self.budget = 2 * MAX_TEXT  # a file without aliases cannot exceed this

    def add(self, line: int, path: str, what: object) -> None:
        """Adds an error. The hundredth ends the reading."""
        self.noted += 1
        text = str(what)
        text = text if len(text) <= 400 else text[:400] + "…"
        self.problems[line, f"{self.source}:{line}: {path + ': ' if path else ''}{text}"] = None
        if len(self.problems) >= MAX_PROBLEMS:
            self.fail()

    def stop(self, line: int, path: str, what: object) -> NoReturn:
        """Adds an error after which reading cannot continue, and raises all."""
        self.add(line, path, what)
        self.fail()

    def fail(self) -> NoReturn:
        """Raises all errors as one ConfigError, in the order of lines."""
        problems = [text for _, text in sorted(self.problems)]
        if len(problems) >= MAX_PROBLEMS:
            problems.append(f"{self.source}: {MAX_PROBLEMS} errors; the rest of the file was not checked")
        raise ConfigError("\n".join(problems), problems) from None

    def spend(self, node: _Node, amount: int) -> None:
        """Limits the size to which aliases can expand a short text."""
        self.budget -= amount + 1
        if self.budget < 0:
            self.stop(node.line, node.path, "aliases (*name) make this file too large; write the values out")

    def text(self, node: _Node) -> str:
        if not isinstance(node.value, str):
            raise InvalidService(f"must be text, not {_kind(node)}; put text with brackets in quotes")
        self.spend(node, len(node.value))
        return node.value

    def items(self, node: _Node, most: int) -> list[_Node]:
        if not isinstance(node.value, list):
            if node.value in _NOTHING:
                return []
            raise InvalidService(f"must be a list, not {_kind(node)}")
        if len(node.value) > most:
            raise InvalidService(f"{len(node.value)} entries; at most {most} are allowed")
        return node.value

    def entries(self, node: _Node) -> dict[str, _Node]:
        if not isinstance(node.value, dict):
            if node.value in _NOTHING and node.path:
                return {}
            raise InvalidService(f"must be a mapping (key: value), not {_kind(node)}")
        return node.value


def _kind(node: _Node) -> str:
    return "a list" if isinstance(node.value, list) else "a mapping" if isinstance(node.value, dict) else "text"


class _Composer:
    """Turns YAML text into nodes: resolves aliases and ``<<``; refuses duplicate keys, tags and second documents."""

    def __init__(self, file: _File, text: str) -> None:
        self.file = file
        self.anchors: dict[str, _Value] = {}
        self.text, self.read = text, 0  # `read`: where the last event ended
        self.lines = text.split("\n")
        if len(text) > MAX_TEXT:
            file.stop(1, "", f"{len(text)} characters; at most {MAX_TEXT} are allowed")
        if bad := _UNPRINTABLE.search(text):
            line = text.count("\n", 0, bad.start()) + 1
            file.stop(line, "", f"the character {bad[0]!r} is not allowed; write it as an escape in double quotes")
        self.events = yaml.parse(text, Loader=_LOADER)

    def document(self) -> _Node:
        """Reads the only document of the text."""
        self.next()
        if isinstance(event := self.next(), yaml.StreamEndEvent):
            self.file.stop(1, "", "the file is empty; for no services, write 'services: []'")
        root = self.node(self.next(), "", 0)
        self.next()
        if not isinstance(event := self.next(), yaml.StreamEndEvent):
            self.file.stop(_line(event), "", "a second document (---); a file must have one")
        return root

    def next(self) -> Any:
        """The next event. If the text is not YAML, the reading ends with an error."""
        try:
            event = next(self.events)
            self.read = event.end_mark.index if event.end_mark else 0
            return event
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark else 1
            if deep := self.too_deep():
                self.file.stop(deep, "", _TOO_DEEP)
            near = "\n".join(part[:400] for part in self.lines[max(line - 2, 0) : line])
            hint = next((f"; {hint}" for pattern, hint in _SLIPS if re.search(pattern, near)), "")
            words = filter(None, (getattr(error, "context", None), getattr(error, "problem", None) or str(error)))
            self.file.stop(line, "", f"this is not YAML: {', '.join(words)}{hint}")

    def too_deep(self) -> int:
        """The line where the text that the parser refused goes deeper than MAX_DEPTH; 0 if it does not.

        The parser reads ahead of its events, and may have its own depth limit with its own error: it then fails before
        our check of the depth. So we parse the text again, cut off where it passes our limit.
        """
        depth, limit = 0, MAX_DEPTH
        for found in _BRACKETS.finditer(self.text, self.read):
            depth += -1 if found[0] in "]}" else 1
            if depth > limit + 1:
                if line := _passed(self.text[: found.end() + 1]):
                    return line
                limit *= 2  # not each bracket was a level
        return 0

    def node(self, event: Any, path: str, depth: int, line: int = 0) -> _Node:
        """The value that begins with `event`. `line` is that of its key, if it is a value of a mapping."""
        line = line or _line(event)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                self.file.stop(
                    line, path, f"the alias *{event.anchor} has no anchor &{event.anchor} that is complete before it"
                )
            return _Node(line, path, self.anchors[event.anchor])
        if event.tag not in _TAGS:
            self.file.add(line, path, f"the tag {event.tag!r} is not supported; remove it")
        if depth > MAX_DEPTH:
            self.file.stop(line, "", _TOO_DEEP)
        value: _Value
        if isinstance(event, yaml.ScalarEvent):
            value = event.value
        elif isinstance(event, yaml.SequenceStartEvent):
            value = []
            while not isinstance(item := self.next(), yaml.SequenceEndEvent):
                value.append(self.node(item, f"{path}[{len(value)}]", depth + 1))
        else:
            value = self.mapping(path, depth)
        if event.anchor is not None:  # only now, so that no value can contain itself
            self.anchors[event.anchor] = value
        return _Node(line, path, value)

    def mapping(self, path: str, depth: int) -> dict[str, _Node]:
        found: dict[str, _Node] = {}
        merged: list[_Node] = []
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            line = _line(event)
            key = self.node(event, path, depth + 1).value
            value = self.node(self.next(), _below(path, str(key)), depth + 1, line)
            if not isinstance(key, str):
                self.file.add(line, path, "a key must be plain text, not a list or a mapping")
            elif key == "<<" and getattr(event, "style", "'") in (None, ""):
                merged.append(value)
            elif (other := found.setdefault(key, value)) is not value:
                self.file.add(line, value.path, f"the same key as in line {other.line}; remove one of them")
        for node in merged:
            for each in node.value if isinstance(node.value, list) else [node]:
                if not isinstance(each.value, dict):
                    self.file.add(node.line, node.path, f"'<<' can merge mappings only, not {_kind(each)}")
                    continue
                self.file.spend(each, len(each.value))
                for key, value in each.value.items():
                    found.setdefault(key, value)
        return found


def _passed(text: str) -> int:
    """The line where a text passes MAX_DEPTH, by the parser's events; 0 if it does not."""
    depth = 0
    with contextlib.suppress(yaml.YAMLError):  # the text is cut off in the middle
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH + 1:
                    return _line(event)
    return 0


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _below(path: str, key: str) -> str:
    """`path` with `key` added; the key is quoted if it is not a plain word."""
    shown = key if re.fullmatch(r"[\w-]{1,80}", key) else repr(key[:80])
    return f"{path}.{shown}" if path else shown
