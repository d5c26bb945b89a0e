"""The formats of ``-o``: functions that turn services into lines. ``name`` is in output.py.

``yaml`` and ``zone``, which md can read back, are in as_file.py. docs/json.md describes ``json`` and ``jsonl``: new
keys may be added; none is removed or changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from ...base.model import Service
from ...base.names import Name
from .table import table

_LABELS = 2  # the column to shorten on a narrow terminal
_UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60))


def in_format(
    output: str, services: Sequence[Service], apex: Name, now: float, width: int | None = None
) -> Iterable[str]:
    """Returns the lines of `services`. `now` is Unix time in seconds. `width` cuts the lines of a table."""
    if output == "json":
        return [json.dumps([as_json(service) for service in services], indent=2)]
    if output == "jsonl":
        return [json.dumps(as_json(service)) for service in services]
    if output == "yaml":
        from .as_file import yaml_lines

        return yaml_lines(services)
    if output == "zone":
        from .as_file import zone_lines

        return zone_lines(services, apex, now)
    if not services:
        return []
    return _wide(services, now, width) if output == "wide" else _table(services, width)


def _table(services: Iterable[Service], width: int | None) -> Iterator[str]:
    rows = [
        (
            service.name,
            service.endpoint if service.protocol == "tcp" else f"{service.endpoint}/{service.protocol}",
            labels_text(service),
            service.host or "-",
        )
        for service in services
    ]
    return table(("NAME", "ADDRESS", "LABELS", "HOST"), rows, _LABELS, width)


def _wide(services: Iterable[Service], now: float, width: int | None) -> Iterator[str]:
    head = ("NAME", "ADDRESS", "LABELS", "HOST", "PROTO", "PRIO/WEIGHT", "OWNER", "TAGS", "VIA", "AGE", "RTT")
    rows = [
        (
            service.name,
            service.endpoint,
            labels_text(service),
            service.host or "-",
            service.protocol,
            f"{service.priority}/{service.weight}",
            service.owner or "-",
            ",".join(service.tags) or "-",
            service.via or "-",
            "-" if service.since is None else age(now - service.since / 1000),
            "-" if service.rtt_ms is None else f"{service.rtt_ms:.1f}ms",
        )
        for service in services
    ]
    return table(head, rows, _LABELS, width)


def labels_text(service: Service) -> str:
    """Returns the labels as a user types them: ``env=prod 'note=two words'``."""
    return " ".join(_word(f"{key}={value}") for key, value in service.labels.items())


def _word(text: str) -> str:
    # One label must not look like two.
    return "'" + text.replace("'", "'\\''") + "'" if " " in text or "'" in text else text


def age(seconds: float) -> str:
    """Returns ``45s``, ``12m``, ``3h`` or ``40d``; at least ``0s``, when clocks differ."""
    unit, size = _unit(seconds)
    return f"{max(0, int(seconds // size))}{unit}"


def older_in(seconds: float) -> float:
    """Returns the seconds until the text of :func:`age` changes."""
    _, size = _unit(seconds)
    return size - (seconds % size if seconds > 0 else seconds)


def _unit(seconds: float) -> tuple[str, int]:
    return next(((unit, size) for unit, size in _UNITS if seconds >= size), ("s", 1))


def as_json(service: Service) -> dict[str, Any]:
    """Returns one service as a JSON object."""
    told = service.to_json()
    return told if _is_text(told) else {key: _valid(value) for key, value in told.items()}


def _is_text(told: dict[str, Any]) -> bool:
    try:
        json.dumps(told, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _valid(value: Any) -> Any:
    """Replaces octets that are not UTF-8 by U+FFFD: many parsers reject lone surrogates (RFC 8259 8.2)."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_valid(key): _valid(each) for key, each in value.items()}
    return [_valid(each) for each in value] if isinstance(value, list) else value
