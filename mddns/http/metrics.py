"""``/metrics``: the counters in Prometheus' text exposition format 0.0.4.

Names and units follow its conventions. Clients cannot increase the number of values of a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from ..directory.directory import Directory
from ..directory.peer_memory import Standing
from ..responder.counters import Counts
from .messages import Response

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_Labels = Mapping[str, str]


class Extent(NamedTuple):
    """The numbers of peers and services of one domain."""

    domain: str
    peers: Mapping[str, int]  # number of peers by state: see :func:`peer_states`
    services: int  # on the whole network
    host_services: int


class State(NamedTuple):
    """The current state of a process."""

    version: str
    tenants: int  # other processes of this host that offer services
    extents: Sequence[Extent]


def peer_states(directory: Directory, now: float) -> dict[str, int]:
    """Counts peers by state: ``registry``, ``silent`` (one that owes an answer), ``gone`` (a former one), ``none``."""
    counts = dict.fromkeys(("registry", "silent", "gone", "none"), 0)
    memory = directory.memory
    for peer in directory.peers:
        if memory.silent(peer.id, now):
            counts["silent"] += 1
        elif memory.gone(peer.id, now):
            counts["gone"] += 1
        else:
            counts["registry" if memory.standing(peer.id, now) is Standing.REGISTRY else "none"] += 1
    return counts


def exposition(counts: Counts, state: State) -> Response:
    """Returns the response with all numbers of a process."""
    return Response(200, "".join(f"{line}\n" for line in _lines(counts, state)).encode(), CONTENT_TYPE)


def _lines(counts: Counts, state: State) -> Iterator[str]:
    yield from _metric("build_info", "gauge", "The version of mddns.", [({"version": state.version}, 1)])
    queries = [
        ({"transport": transport, "type": rtype, "rcode": rcode}, number)
        for (rtype, rcode), tally in sorted(counts.queries.items())
        for transport, number in tally.items()
        if number
    ]
    yield from _metric("queries_total", "counter", "DNS queries answered.", queries)
    answered = sum(number for _, number in queries)
    hits = max(0, answered - counts.misses)
    yield from _metric("cache_hits_total", "counter", "Answers that came from the cache.", [({}, hits)])
    yield from _metric("cache_misses_total", "counter", "Answers that were not in the cache.", [({}, counts.misses)])
    yield from _metric(
        "refused_total", "counter", "Queries and HTTP requests that were refused.", [({}, counts.refused)]
    )
    responses = [({"code": str(status)}, number) for status, number in sorted(counts.http.items())]
    yield from _metric("http_responses_total", "counter", "HTTP responses sent.", responses)
    yield from _fanout(counts)
    domains = [({"domain": each.domain.removesuffix(".")}, each) for each in state.extents]
    peers = [({**labels, "state": name}, number) for labels, each in domains for name, number in each.peers.items()]
    yield from _metric("peers", "gauge", "Nodes of the network that are queried, by state.", peers)
    services = [(labels, each.services) for labels, each in domains]
    yield from _metric("services", "gauge", "Services known on the whole network.", services)
    host_services = [(labels, each.host_services) for labels, each in domains]
    yield from _metric("host_services", "gauge", "Services that this host offers.", host_services)
    tenants = "Other processes of this host for which this one answers."
    yield from _metric("tenants", "gauge", tenants, [({}, state.tenants)])


def _fanout(counts: Counts) -> Iterator[str]:
    name, histogram = "mddns_fanout_seconds", counts.fanout
    yield f"# HELP {name} Seconds for a query to all peers, until all had answered or the deadline had passed."
    yield f"# TYPE {name} histogram"
    so_far = 0
    for bound, number in zip((*histogram.BOUNDS, "+Inf"), histogram.counts, strict=True):
        so_far += number
        yield f'{name}_bucket{{le="{bound}"}} {so_far}'
    yield f"{name}_sum {histogram.sum}"
    yield f"{name}_count {so_far}"


def _metric(name: str, kind: str, help_text: str, samples: Iterable[tuple[_Labels, int]]) -> Iterator[str]:
    yield f"# HELP mddns_{name} {help_text}"
    yield f"# TYPE mddns_{name} {kind}"
    for labels, value in samples:
        told = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        yield f"mddns_{name}{{{told}}} {value}" if told else f"mddns_{name} {value}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
