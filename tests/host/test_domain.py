"""Which domain a query is for."""

from __future__ import annotations

import asyncio

import pytest
from played import ALPHA, BRAVO, SINCE, question

from mddns.base.model import Snapshot
from mddns.base.names import Name
from mddns.base.policy import Policy
from mddns.host.domain import LATE, Domain, Domains
from mddns.lookup import asyncio_sockets
from mddns.lookup.fanout import Lookup
from mddns.registry.registry import Registry
from mddns.system import clock


def domain(apex: Name) -> Domain:
    return Domain(apex, Registry(ALPHA, False, SINCE), Policy(), 1.0)


@pytest.fixture
def domains() -> Domains:
    made = Domains(domain(Name.parse("minidisc")), domain)
    made.serve([Name.parse("minidisc.internal"), Name.parse("lab.minidisc")])
    return made


@pytest.mark.parametrize(
    ("name", "apex"),
    [
        ("web.minidisc.", "minidisc."),
        ("WEB.Minidisc.INTERNAL.", "minidisc.internal."),
        ("minidisc.internal.", "minidisc.internal."),
        ("web.lab.minidisc.", "lab.minidisc."),
        ("lab.minidisc.", "lab.minidisc."),
        ("xlab.minidisc.", "minidisc."),
        ("x\\003lab.minidisc.", "minidisc."),  # the octets of `lab` as a label, but within another
        ("a\\000b.minidisc.internal.", "minidisc.internal."),
        ("internal.", "minidisc."),  # nobody's: ours refuses it
        (".", "minidisc."),
    ],
)
def test_the_longest_apex_that_a_name_is_under_decides(domains: Domains, name: str, apex: str) -> None:
    assert str(domains.choose(question(f"{name} A")).apex) == apex


@pytest.mark.parametrize("wire", [b"", b"\0" * 11, b"\0" * 12, b"\0" * 12 + b"\x3fab", b"\0" * 12 + b"\xc0\x0c\0\1"])
def test_what_is_no_query_is_for_our_own(domains: Domains, wire: bytes) -> None:
    assert domains.choose(wire) is domains.own


def test_what_is_served_no_more_is_left_and_our_own_stays(domains: Domains) -> None:
    assert not domains.alone
    domains.serve([])
    assert domains.alone
    assert [str(each.apex) for each in domains] == ["minidisc."]


@pytest.mark.parametrize(("stopped", "rounds"), [(LATE - 0.1, 1), (LATE + 0.1, 2)])
def test_what_a_fan_out_heard_that_ended_late_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, stopped: float, rounds: int
) -> None:
    """We were stopped meanwhile, and read what was so before."""
    lookups: list[Lookup] = []
    now = 100.0

    async def run(lookup: Lookup, _clock: object) -> None:
        nonlocal now
        lookups.append(lookup)
        now = lookup.deadline + (stopped if len(lookups) == 1 else 0.0)

    monkeypatch.setattr(asyncio_sockets, "run", run)
    monkeypatch.setattr(clock, "now", lambda: now)
    own = domain(Name.parse("minidisc"))
    own.directory.network(Snapshot(ALPHA, (BRAVO,)), with_own_host=False)
    asyncio.run(own.fresh())
    assert len(lookups) == rounds
