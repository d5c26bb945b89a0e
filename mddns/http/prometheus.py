"""``/sd/prometheus``: the services of the network as targets for Prometheus' ``http_sd_configs``.

Each instance is a target group of its own, so that its labels are its own. Prometheus keeps the targets that
it has where it gets an error, and drops those that an answer leaves out: see :func:`answer`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from ..base.model import Service
from .messages import Request, Response

_META: Final = "__meta_minidisc_"
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_]")


class Known(NamedTuple):
    """What is known of the network under one domain. ``ready``: whether it is known who is on it."""

    domain: str
    services: list[Service]
    silent: tuple[str, ...]
    ready: bool


class BadFilter(ValueError):
    """A query string that asks for nothing there is."""


def read_filter(query: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str | None, ...], dict[str, str]]:
    """The names (any of them; None is every name) and the labels (all of them) that are wanted; or BadFilter."""
    unknown = sorted(set(query) - {"name", "label"})
    if unknown:
        raise BadFilter(f"query parameter {unknown[0]!r}: there are only name=NAME and label=KEY=VALUE")
    labels: dict[str, str] = {}
    for pair in query.get("label", ()):
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise BadFilter(f"label={pair!r}: a label is KEY=VALUE, as in ?label=env=prod")
        if labels.setdefault(key, value) != value:
            raise BadFilter(f"label={pair!r}: {key!r} is to be {labels[key]!r} already")
    return query.get("name") or (None,), labels


def answer(request: Request, known: Sequence[Known]) -> Response:
    """The target groups that are asked for; 503 where finding none may well be due to who is silent."""
    try:
        names, labels = read_filter(request.query)
    except BadFilter as error:
        return Response(400, f"{error}\n".encode("utf-8", "replace"), "text/plain; charset=utf-8")
    found = [
        (each.domain, service)
        for each in known
        for service in each.services
        if any(service.matches(name, labels) for name in names)
    ]
    silent = list(dict.fromkeys(name for each in known for name in each.silent))
    ready = all(each.ready for each in known)
    if not ready or (not found and silent):
        why = f"silent: {', '.join(silent)}" if ready else "no list of peers yet"
        return Response(503, f"{why}\n".encode("utf-8", "replace"), "text/plain; charset=utf-8")
    found.sort(key=lambda each: (each[0], each[1].key))
    groups = [target_group(service, domain) for domain, service in found]
    return Response(200, json.dumps(groups).encode(), "application/json")


def target_group(service: Service, domain: str) -> dict[str, Any]:
    """One instance. What is unknown is left out."""
    labels = {
        "name": service.name,
        "instance": service.instance,
        "host": service.host,
        "owner": service.owner,
        # Between commas on both sides, so that a regular expression can find one of them.
        "tags": f",{','.join(service.tags)}," if service.tags else None,
        "protocol": service.protocol,
        "domain": domain.removesuffix("."),
        "network": service.network,
        "priority": str(service.priority),
        "weight": str(service.weight),
        "remote": "true" if service.remote else "false",
    }
    for key in sorted(service.labels):
        # Of two keys that become the same name, the first stands.
        labels.setdefault(f"label_{_NOT_IN_NAMES.sub('_', key)}", service.labels[key])
    return {"targets": [str(service.endpoint)], "labels": {_META + key: text for key, text in labels.items() if text}}
