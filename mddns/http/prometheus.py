"""``/sd/prometheus``: the services of the network as targets for Prometheus' ``http_sd_configs``.

Each instance is a separate target group, because each has its own labels. After an error Prometheus keeps its
targets; after an answer it drops the targets that are not in the answer: see :func:`answer`.
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
    """The known services of one domain. ``silent`` names the silent peers; ``ready``: the list of peers is known."""

    domain: str
    services: list[Service]
    silent: tuple[str, ...]
    ready: bool


class BadFilter(ValueError):
    """A query string with an unknown parameter, or with a label that is malformed or has two values."""


def read_filter(query: Mapping[str, tuple[str, ...]]) -> tuple[tuple[str | None, ...], dict[str, str]]:
    """Returns the wanted names (any of them; None is every name) and labels (all of them); raises BadFilter."""
    unknown = sorted(set(query) - {"name", "label"})
    if unknown:
        raise BadFilter(f"query parameter {unknown[0]!r} is unknown: use name=NAME and label=KEY=VALUE")
    labels: dict[str, str] = {}
    for pair in query.get("label", ()):
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise BadFilter(f"label={pair!r}: a label must be KEY=VALUE, as in ?label=env=prod")
        if labels.setdefault(key, value) != value:
            raise BadFilter(f"label={pair!r}: {key!r} already has the value {labels[key]!r}")
    return query.get("name") or (None,), labels


def answer(request: Request, known: Sequence[Known]) -> Response:
    """Returns the requested target groups; 503 without a list of peers, or if none is found while peers are silent."""
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
    """Returns the target group of one instance. Unknown values are left out."""
    labels = {
        "name": service.name,
        "instance": service.instance,
        "host": service.host,
        "owner": service.owner,
        # There is a comma on both sides of each tag, so that a regular expression can match a whole tag.
        "tags": f",{','.join(service.tags)}," if service.tags else None,
        "protocol": service.protocol,
        "domain": domain.removesuffix("."),
        "network": service.network,
        "priority": str(service.priority),
        "weight": str(service.weight),
        "remote": "true" if service.remote else "false",
    }
    for key in sorted(service.labels):
        # If two keys become the same name, the first is used.
        labels.setdefault(f"label_{_NOT_IN_NAMES.sub('_', key)}", service.labels[key])
    return {"targets": [str(service.endpoint)], "labels": {_META + key: text for key, text in labels.items() if text}}
