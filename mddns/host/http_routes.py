"""The HTTP paths of a node, and their handlers."""

from __future__ import annotations

from .. import __version__
from ..http.dispatch import Routes, Site
from ..http.doh import Asking, DnsQuery
from ..http.messages import Request, Response
from ..http.metrics import Extent, State, exposition, peer_states
from ..http.prometheus import answer
from ..registry.host_table import HostTable
from ..responder.counters import Counts
from ..system import clock
from .domain import Domains


def open_site(domains: Domains, table: HostTable, counts: Counts, asking: Asking, others: Routes) -> Site:
    """Returns a node's site. `asking` answers DNS queries; `others` are the handlers for data of this host only."""
    dns = DnsQuery(asking)

    async def targets(request: Request) -> Response:
        return answer(request, [await domain.known() for domain in list(domains)])

    def metrics(request: Request) -> Response:
        now = clock.now()
        extents = [
            Extent(
                str(domain.apex),
                peer_states(domain.directory, now),
                len(domain.directory.services(now)),
                len(domain.served.services()),
            )
            for domain in domains
        ]
        return exposition(counts, State(__version__, len(table.processes), extents))

    merged: Routes = {
        ("GET", "/dns-query"): dns.get,
        ("POST", "/dns-query"): dns.post,
        ("GET", "/metrics"): metrics,
        ("GET", "/sd/prometheus"): targets,
    }
    return Site(merged, others, counts)
