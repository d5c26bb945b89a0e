"""Resolvers that people have already, with `md forward` behind them: what their own users then find, and how soon.

All of them run on desk at once, each at port 53 of an address of its own, and ask `md forward` at 127.0.0.1:5354.
Names of others come from a server on bravo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import dns.flags
import dns.rdatatype
import pytest
from bed.dig import Reply, dig
from bed.hosts import Bed, Host
from bed.process import Process, wait_until
from bed.resolvconf import resolv_conf
from bed.wiretap import Wiretap
from conftest import MakeBed, Measured
from fronts import (
    BOTH,
    FRONTS,
    MANY,
    OTHER_ADDRESS,
    OTHER_NAME,
    Start,
    pdns_recursor,
    surroundings,
    unbound_forward,
    unbound_stub,
)
from real_clients import HOSTS, configuration, fetch, forward, seconds_until, serve_page

BEHIND = 5354  # the port of `md forward`

each_front = pytest.mark.parametrize("front", FRONTS)
pytestmark = pytest.mark.namespaces


class Desk(NamedTuple):
    """The machine with all the resolvers, its resolv.conf, and who serves pages besides."""

    bed: Bed
    resolv_conf: Path
    forwarder: Process

    @property
    def host(self) -> Host:
        return self.bed.host("desk")

    def asks(self, front: str) -> Host:
        """The host, its programs' resolver now being that one."""
        self.resolv_conf.write_text(f"nameserver {FRONTS[front][0]}\n")
        return self.host

    def dig(self, front: str, name: str, rtype: str = "SRV", *options: str) -> Reply:
        return dig(self.host, FRONTS[front][0], name, rtype, "-p", "53", *options)

    def srv(self, front: str, name: str) -> set[str]:
        """What it says of a name at the moment."""
        return {line.partition(" SRV ")[2] for line in self.dig(front, name).answer}


@pytest.fixture(scope="module")
def desk(make_module_bed: MakeBed) -> Iterator[Desk]:
    """`md forward` and all the resolvers on desk, and their surroundings."""
    bed = make_module_bed(HOSTS)
    host, bravo = bed.host("desk"), bed.host("bravo")
    surroundings(bed)
    with resolv_conf(host, "nameserver 127.0.0.1\n") as file:
        desk = Desk(bed, file, forward(host, "--listen", f"127.0.0.1:{BEHIND}"))
        for address, start in FRONTS.values():
            start(host, address, bravo.ipv4)
        for front in FRONTS:
            assert wait_until(lambda front=front: desk.srv(front, "web.minidisc") == BOTH, 20), front
        yield desk


# --- what is found ----------------------------------------------------------------------------------------------------


@each_front
def test_curl_and_libc_find_our_pages_by_it_and_other_names_as_before(desk: Desk, front: str) -> None:
    host = desk.asks(front)
    assert fetch(host, "http://web.minidisc:8080/") in {"alpha:8080", "bravo:8080"}
    found = host.run(["getent", "ahostsv4", "web.minidisc"]).stdout.split()
    assert {desk.bed.host(name).ipv4 for name in ("alpha", "bravo")} <= set(found)
    assert OTHER_ADDRESS in host.run(["getent", "ahostsv4", OTHER_NAME]).stdout.split()
    assert host.run(["getent", "ahostsv4", "nobody.minidisc"]).returncode == 2


@each_front
def test_services_are_found_in_any_case_and_answered_as_asked(desk: Desk, front: str) -> None:
    for name in ("WeB.mInIdIsC.", "_wEb._TCP.Minidisc."):
        reply = desk.dig(front, name)
        assert (reply.rcode, "ad" in reply.flags) == ("NOERROR", False)
        assert {line.partition(" SRV ")[2].lower() for line in reply.answer} == BOTH
        assert f"\n;{name}" in reply.text
    assert desk.dig(front, "WeB.mInIdIsC.", "TXT").answer == {'WeB.mInIdIsC. TXT ""'}


@each_front
def test_a_service_with_60_instances_is_found_whole_by_tcp(desk: Desk, front: str) -> None:
    assert "tc" in desk.dig(front, "many.minidisc", "SRV", "+ignore", "+bufsize=1232").flags
    assert len(desk.srv(front, "many.minidisc")) == MANY


# --- what it asks -----------------------------------------------------------------------------------------------------


def overheard(desk: Desk, front: str, name: str) -> list[tuple[str, str, bool]]:
    """What a resolver asks `md forward` when it is asked for the TXT of a name: names, types, RD."""
    with Wiretap(desk.host, BEHIND) as tap:
        assert desk.dig(front, name, "TXT").rcode in ("NOERROR", "NXDOMAIN")
        asked = [query for query in tap.asked() if not query.flags & dns.flags.QR]
    return [
        (each.name.to_text(), dns.rdatatype.to_text(each.rdtype), bool(query.flags & dns.flags.RD))
        for query in asked
        for each in query.question
    ]


@pytest.mark.parametrize("front", ["unbound stub-zone", "pdns-recursor"])
def test_one_that_takes_us_for_authoritative_asks_label_by_label_without_rd(desk: Desk, front: str) -> None:
    asked = overheard(desk, front, "a.b.c.web.minidisc")
    assert {rd for *_, rd in asked} == {False}
    assert len({name.count(".") for name, *_ in asked}) > 1


@pytest.mark.parametrize("front", ["unbound forward-zone", "unbound stub-zone", "knot-resolver"])
def test_one_that_guards_itself_by_case_gets_its_case_back(desk: Desk, front: str) -> None:
    asked = [name for name, *_ in overheard(desk, front, "guarded-by-its-case.minidisc")]
    # Who does not get it back asks once more, in lower case.
    assert asked
    assert all(name != name.lower() for name in asked), asked


@pytest.mark.parametrize(
    ("start", "file", "line"),
    [
        (unbound_forward, "unbound-forward.conf", "domain-insecure"),
        (unbound_stub, "unbound-stub.conf", "domain-insecure"),
        (unbound_forward, "unbound-forward.conf", "do-not-query-localhost"),
        (pdns_recursor, "pdns-recursor.lua", "addNTA"),
    ],
)
def test_without_the_line_that_spares_us_nothing_is_found(desk: Desk, start: Start, file: str, line: str) -> None:
    """A validating resolver takes us for forged; and unbound asks nobody on its own machine."""
    kept = "".join(each for each in configuration(file).splitlines(keepends=True) if line not in each)
    with start(desk.host, "127.0.0.31", desk.bed.host("bravo").ipv4, kept) as program:
        rcodes: list[str] = []

        def refused() -> bool:
            reply = dig(desk.host, "127.0.0.31", "web.minidisc", "SRV", "-p", "53", "+dnssec")
            rcodes.append(reply.rcode)
            return reply.rcode == "SERVFAIL"

        assert wait_until(refused, 15), (rcodes, program.stderr)
    assert "NOERROR" not in rcodes


# --- how soon it follows ----------------------------------------------------------------------------------------------


def followed(done: Callable[[str], bool], within: float = 15.0) -> str:
    """After how many seconds each resolver is there."""
    with ThreadPoolExecutor(len(FRONTS)) as each:
        took = list(each.map(lambda front: (front, seconds_until(lambda: done(front), within)), FRONTS))
    return ", ".join(f"{front} {seconds:.1f} s" for front, seconds in took)


def test_each_follows_an_instance_that_joins_and_one_that_leaves(desk: Desk, measured: Measured) -> None:
    for front in FRONTS:  # so that it is cached, as in use
        assert desk.srv(front, "web.minidisc") == BOTH
    three = BOTH | {"10 10 8081 desk-8081.web.minidisc."}
    with serve_page(desk.host, 8081):
        measured(f"an instance joins: {followed(lambda front: desk.srv(front, 'web.minidisc') == three)}")
    measured(f"an instance leaves: {followed(lambda front: desk.srv(front, 'web.minidisc') == BOTH)}")


def test_each_finds_a_name_that_it_denied_a_moment_ago(desk: Desk, measured: Measured) -> None:
    for front in FRONTS:
        assert desk.dig(front, "fresh.minidisc").rcode == "NXDOMAIN"
    with serve_page(desk.host, 8082, "fresh"):
        measured(f"a new name: {followed(lambda front: bool(desk.srv(front, 'fresh.minidisc')))}")


def test_each_is_back_soon_after_md_forward_was_away(desk: Desk, measured: Measured) -> None:
    """An upgrade: meanwhile programs go on asking. It comes last: `md forward` ends with it."""
    desk.forwarder.terminate()
    with ThreadPoolExecutor(len(FRONTS)) as each:
        list(each.map(lambda front: [desk.dig(front, name + ".minidisc") for name in ("web", "many")], FRONTS))
    with forward(desk.host, "--listen", f"127.0.0.1:{BEHIND}"):
        measured(f"md forward is back: {followed(lambda front: desk.srv(front, 'web.minidisc') == BOTH)}")
