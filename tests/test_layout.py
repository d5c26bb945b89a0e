"""The shape of the code (design.md section 12): who may import whom, and that everything has tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from places import ROOT, TESTS

PACKAGE = ROOT / "mddns"

FLOORS = {
    6: """
        __init__
        __main__
        cli
        default
        demo
        sync
    """,  # people
    5: """
        aio
        aio_watch
        asking
        attachment
        doctor
        following
        forwarder
        mirror
        mirroring
        mirrors
        node
        resolver
        settings
        subscribing
        sync_watch
        watched
        watched_hosts
        watching
    """,  # parts put together
    4: """
        beside
        desk
        domain
        hostsockets
        http_routes
        membership
        primary
        relay
        seat
    """,  # the processes of a host
    3: """
        acceptor
        aio_transport
        background
        batch
        binding
        channel
        clock
        connections
        dns_connection
        dropin
        forked
        health
        http_connection
        knock
        lean
        listeners
        neighbour
        networks
        notifier
        portholder
        probing
        own_file
        remembered
        serials
        sessions
        subscriber
        transport
        upstream_source
        upstream_transport
        volley
    """,  # sockets, LocalAPI
    # ===== I/O above; below this line no socket, no asyncio, no clock: `now` is passed in =====
    2: """
        answers
        apex
        ask
        cache
        changes
        compose
        counts
        delegates
        departures
        diagnosis
        direct
        directory
        dso
        dso_client
        followed
        form
        hot
        http_dns
        http_metrics
        http_site
        http_targets
        http_trust
        inquiry
        journal
        leading
        lookup
        lookup_web
        memory
        merged_zone
        minidisc
        mirrored
        news
        notify_out
        patience
        policy
        pulse
        push
        reaction
        rebinding
        registry
        reload
        reply
        reply_cache
        resolving
        responder
        secondary
        silence
        source
        succession
        tenancy
        transfer
        update
        upstream
        view
        vitality
        web
        zone
    """,  # decisions
    1: """
        check
        config
        instance
        offer
        packer
        records
        resolvconf
        setup
        wire
        zonefile
    """,  # formats
    0: """
        errors
        finding
        grammar
        model
        names
    """,  # standard library only
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names.split()}

IO = {"asyncio", "selectors", "time", "threading", "subprocess", "signal", "select"}
# Addresses to octets and back: no socket is made.
HARMLESS = {"socket": {"AF_INET", "AF_INET6", "inet_ntop", "inet_pton"}, "os": {"urandom"}}
LIBRARIES = {
    "dnslib": {"records"},
    "h11": {"health", "http_connection"},
    "yaml": {"config"},
    "click": {"__main__", "cli"},
}

# What has no tests/test_<module>.py of its own, and where its tests are instead.
TESTED_ELSEWHERE = {
    "dns_connection": "test_listeners",
    "reaction": "test_listeners",
    "forked": "test_embedding, test_watching",
    "__init__": "test_import, test_sync",
    "__main__": "the tests of the command line",
    "aio_transport": "test_transport: every test of a lookup's I/O runs both ways",
    "compose": "test_responder: octets in, octets out",
    "default": "test_resolver",
    "background": "test_sync, test_embedding",
    "mirror": "test_mirrors, test_hosts_mirror",
    "view": "test_watching",
    "asking": "test_watching, test_hosts_watch",
    "subscribing": "test_watching, test_mirrors",
    "watched": "test_attachment",
    "watched_hosts": "test_watching, test_mirrors",
    "beside": "test_minidisc_beside, test_hosts_minidisc",
    "aio_watch": "test_watching",
    "sync_watch": "test_watching",
    "probing": "test_watching",
    "acceptor": "test_hosts_port",
    "binding": "test_listeners",
    "connections": "test_listeners",
    "membership": "test_hosts_tenants",
    "neighbour": "test_hosts_race",
    "errors": "test_docs holds its table",
    "http_routes": "test_http_site: on a node",
    "own_file": "test_remembered, test_serials",
    "records": "test_hosts_md: md query",
    "ask": "test_lookup",
    "departures": "test_lookup",
    "source": "test_directory",
    "patience": "test_lookup",
    "lookup_web": "test_lookup_minidisc",
    "seat": "test_hosts_tenants",
    "upstream_transport": "test_relay",
}


@dataclass(frozen=True)
class Import:
    """One import: of a part of mddns (`ours`), or of something else; at the top of a file, or within a function."""

    module: str
    names: frozenset[str]
    ours: bool
    at_top: bool


def part(path: Path) -> str:
    """Which part of the package a file is: a module, or a package within."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[Import]:
    """All imports of a file but those for type checkers alone."""
    depth = len(path.relative_to(PACKAGE).parts)
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name.partition(".")[0], frozenset(), False, id(node) in top)
        elif isinstance(node, ast.ImportFrom):
            names = frozenset(alias.name for alias in node.names)
            if not node.level:
                yield Import((node.module or "").partition(".")[0], names, False, id(node) in top)
            elif node.level < depth:
                continue  # within a package of ours
            elif node.module:
                yield Import(node.module.partition(".")[0], names, True, id(node) in top)
            else:
                for name in names:
                    yield Import(name if name in FLOOR else "__init__", names, True, id(node) in top)


FILES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(path.relative_to(PACKAGE)) for path in FILES]


def test_every_file_has_a_floor_and_every_floor_its_files() -> None:
    assert {part(path) for path in FILES} == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_a_file_imports_from_its_own_floor_or_below(path: Path) -> None:
    own = part(path)
    for each in imports(path):
        if each.ours and each.module != own and each.module != "__init__":
            assert FLOOR[each.module] <= FLOOR[own], f"{own} imports {each.module}, from a floor above its own"


def test_there_are_no_circles() -> None:
    """Counting what is imported with a file; what a function imports comes when all are there."""
    using = {part(path): set[str]() for path in FILES}
    for path in FILES:
        using[part(path)] |= {each.module for each in imports(path) if each.ours and each.at_top} - {part(path)}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"a circle: {' -> '.join((*trail, name))}"
        for other in using.get(name, ()):
            visit(other, (*trail, name))

    for name in using:
        visit(name, ())


@pytest.mark.parametrize("path", [path for path in FILES if FLOOR.get(part(path), 9) <= 2], ids=lambda path: path.stem)
def test_below_the_line_there_is_no_socket_no_loop_and_no_clock(path: Path) -> None:
    for each in imports(path):
        if each.ours:
            continue
        assert each.module not in IO, f"{path.name} imports {each.module}"
        if each.module in HARMLESS:
            used = each.names or attributes(path, each.module)
            assert used <= HARMLESS[each.module], f"{path.name} uses {each.module}: {sorted(used)}"


def attributes(path: Path, module: str) -> frozenset[str]:
    """What a file uses of a module that it imports as a whole."""
    return frozenset(
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module
    )


@pytest.mark.parametrize("path", [path for path in FILES if FLOOR.get(part(path)) == 0], ids=lambda path: path.stem)
def test_the_ground_floor_uses_the_standard_library_only(path: Path) -> None:
    import sys

    for each in imports(path):
        assert each.ours or each.module in sys.stdlib_module_names


@pytest.mark.parametrize("library", LIBRARIES)
def test_another_library_stands_in_one_place(library: str) -> None:
    users = {part(path) for path in FILES for each in imports(path) if not each.ours and each.module == library}
    assert users == LIBRARIES[library]


def test_no_other_library_is_used() -> None:
    import sys

    known = {*sys.stdlib_module_names, *LIBRARIES}
    used = {each.module for path in FILES for each in imports(path) if not each.ours}
    assert used <= known


def test_the_guard_of_this_file_sees_what_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checker that found nothing at all would pass everything."""
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "zone.py").write_text(
        "import time\nfrom socket import socket\nfrom .node import Node\nfrom . import aio\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .sync import Registry\n"
        "def f():\n    from .seat import Seat\n"
    )
    found = {(each.module, each.ours, each.at_top) for each in imports(tmp_path / "zone.py")}
    assert found == {
        ("time", False, True),
        ("socket", False, True),
        ("node", True, True),
        ("aio", True, True),
        ("typing", False, True),
        ("seat", True, False),
    }


def test_every_module_has_a_test_file_or_a_reason() -> None:
    tests = TESTS
    modules = {path.stem for path in PACKAGE.glob("*.py")} | {
        path.stem for path in (PACKAGE / "networks").glob("*.py") if path.stem not in ("__init__", "own")
    }
    without = {name for name in modules if not (tests / f"test_{name}.py").exists()}
    assert without <= set(TESTED_ELSEWHERE)
    for name, where in TESTED_ELSEWHERE.items():
        files = [word.strip(":,") for word in where.split() if word.startswith("test_")]
        assert all((tests / f"{file}.py").exists() for file in files), name
