"""getaddrinfo of glibc and of musl, and who calls it, with a view as search domain."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from bed.dig import need
from bed.hosts import Bed
from bed.resolvconf import resolv_conf
from conftest import MakeBed, Measured
from real_clients import HOSTS, configuration, follow, forward, hosts_in, placed, seconds_until, serve_page, version_of

pytestmark = pytest.mark.namespaces

# Prints each address in the order in which a program would try them.
SOURCE = """
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int count, char **arguments) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
  int error = getaddrinfo(arguments[1], "8080", &hints, &found);
  if (error) return puts(error == EAI_NONAME ? "no such name" : "another error"), 1;
  for (; found; found = found->ai_next) {
    char text[64];
    getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST);
    puts(text);
  }
}
"""
COMPILERS = {"glibc": ["cc"], "musl": ["musl-gcc", "-static"]}

PAGE = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=3).read().decode())"


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """alpha's page is for development and bravo's is production; desk forwards, and finds production by plain names."""
    bed = make_module_bed(HOSTS)
    with resolv_conf(bed.host("desk"), configuration("resolv.conf")):
        serve_page(bed.host("alpha"), 8080, "web", "env=dev")
        serve_page(bed.host("bravo"), 8080, "web", "env=prod")
        forward(bed.host("desk"))
        yield bed


@pytest.fixture(scope="module")
def programs(bed: Bed) -> dict[str, list[str]]:
    """What asks each libc, and others for a page."""
    desk = bed.host("desk")
    source = placed(desk, "getaddrinfo.c", SOURCE)
    for libc, compiler in COMPILERS.items():
        need(compiler[0])
        made = desk.run([*compiler, "-o", f"getaddrinfo-{libc}", source])
        assert made.returncode == 0, made.stderr
    return {
        **{libc: [str(desk.directory / f"getaddrinfo-{libc}"), "{name}"] for libc in COMPILERS},
        "Python": ["python", "-c", PAGE, "http://{name}:8080/"],
        "curl": ["curl", "-sS", "http://{name}:8080/"],
    }


def run(bed: Bed, argv: list[str], name: str) -> str:
    """What it prints."""
    return bed.host("desk").run([each.format(name=name) for each in argv]).stdout


@pytest.mark.parametrize("program", ["glibc", "musl", "Python", "curl"])
@pytest.mark.parametrize(
    ("name", "host"), [("web", "bravo"), ("web.prod._env.minidisc", "bravo"), ("web.dev._env.minidisc", "alpha")]
)
def test_a_plain_name_is_the_one_of_the_view_in_resolv_conf(
    bed: Bed, programs: dict[str, list[str]], program: str, name: str, host: str
) -> None:
    assert hosts_in(bed, run(bed, programs[program], name)) == {host}


@pytest.mark.parametrize("libc", COMPILERS)
def test_a_whole_name_gives_the_address_of_each_instance(
    bed: Bed, programs: dict[str, list[str]], libc: str, measured: Measured
) -> None:
    assert hosts_in(bed, run(bed, programs[libc], "web.minidisc")) == {"alpha", "bravo"}
    how = ["ldd", "--version"] if libc == "glibc" else ["dpkg-query", "-W", "musl-tools"]
    measured(f"{libc} {version_of(bed.host('desk'), *how)}")


@pytest.mark.parametrize("libc", COMPILERS)
def test_what_nobody_offers_is_no_name(bed: Bed, programs: dict[str, list[str]], libc: str) -> None:
    assert run(bed, programs[libc], "no.minidisc").strip() == "no such name"


@pytest.mark.parametrize(("libc", "first"), [("glibc", "bravo"), ("musl", "alpha")])
def test_of_several_addresses_a_libc_puts_the_same_one_first_each_time(
    bed: Bed, programs: dict[str, list[str]], libc: str, first: str
) -> None:
    """glibc the one that has most bits in common with its own (RFC 6724 rule 9), musl as they come."""
    assert {run(bed, programs[libc], "web.minidisc").split()[0] for _ in range(10)} == {bed.host(first).ipv4}


@pytest.mark.parametrize(("libc", "count"), [("glibc", 60), ("musl", 30)])
def test_of_60_addresses_all_come_by_tcp_and_half_of_them_without(
    bed: Bed, programs: dict[str, list[str]], libc: str, count: int
) -> None:
    """musl 1.2.3 has no TCP, and takes what comes in 512 octets."""
    services = [f"  - {{name: many, address: '100.64.1.{n}:80'}}" for n in range(1, 61)]
    file = placed(bed.host("alpha"), "many.yaml", "services:\n" + "\n".join(services))
    with bed.host("alpha").start(["md", "advertise", file]) as offer:
        offer.wait_for("advertised")
        seconds_until(lambda: len(run(bed, programs[libc], "many.minidisc").split()) == count, 15)


@pytest.mark.parametrize("first", ["alpha", "bravo"])
def test_with_musl_the_best_priority_comes_first(bed: Bed, programs: dict[str, list[str]], first: str) -> None:
    """And with all that keep the order of an answer; glibc does not."""
    with contextlib.ExitStack() as stack:
        for host in map(bed.host, ("alpha", "bravo")):
            priority = "1" if host.name == first else "2"
            offer = host.start(["md", "advertise", f"first-{first}", ":9090", "--priority", priority])
            stack.enter_context(offer).wait_for("advertised")
        addresses: list[str] = []

        def both() -> bool:
            addresses[:] = run(bed, programs["musl"], f"first-{first}.minidisc").split()
            return len(addresses) == 2

        seconds_until(both, 15)
        assert addresses[0] == bed.host(first).ipv4


@pytest.mark.parametrize("libc", COMPILERS)
def test_a_port_in_resolv_conf_is_not_read(bed: Bed, programs: dict[str, list[str]], libc: str) -> None:
    """So `md forward` has to have port 53."""
    alpha = bed.host("alpha")
    with forward(alpha, "--listen", "127.0.0.1:5354", "--listen", "127.0.0.2:53", "--upstream", "192.0.2.1"):
        for at, found in (("127.0.0.1:5354", set()), ("127.0.0.2", {"alpha", "bravo"})):
            with resolv_conf(alpha, f"nameserver {at}\noptions timeout:1 attempts:1\n"):
                assert hosts_in(bed, alpha.run([programs[libc][0], "web.minidisc"]).stdout) == found


def test_each_follows_who_joins_and_who_leaves(bed: Bed, programs: dict[str, list[str]], measured: Measured) -> None:
    clients = {libc: lambda libc=libc: run(bed, programs[libc], "moving.minidisc") for libc in COMPILERS}
    joined, left = follow(bed, clients, "moving", 8081)
    measured(f"found who joined: {joined}")
    measured(f"forgot who left: {left}")
