"""Recipes: what each says, and that the programs that they are for take them and find our names by them."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from bed.dig import need
from bed.hosts import PORT, Bed, Host
from bed.process import wait_until
from conftest import MakeBed
from docblocks import ROOT, blocks
from real_clients import configuration

from mddns import ConfigError
from mddns.cli import group
from mddns.setup import (
    APPLICABLE,
    AT_A_NODE,
    EXAMPLE_NODE,
    KINDS,
    LISTEN,
    Recipe,
    Target,
    content,
    is_ours,
    recipe,
    target,
    text,
)
from mddns.setup.resolved import DELEGATE, DROP_IN, version

NODE = "100.64.0.1"
BOTH = {f"10 10 8080 {name}-8080.web.minidisc." for name in ("alpha", "bravo")}
HIGH = 53530  # where tests have resolvers listen, as anybody may


def to(kind: str, listen: str | None = None, apex: str = "minidisc") -> Target:
    at_node = kind in AT_A_NODE
    return target(apex, listen, port=AT_A_NODE.get(kind, 5354), address=EXAMPLE_NODE if at_node else LISTEN)


def made(kind: str, listen: str | None = None, apex: str = "minidisc") -> Recipe:
    return recipe(kind, to(kind, listen, apex))


def body(kind: str, listen: str | None = None, apex: str = "minidisc", number: int = 0) -> str:
    return made(kind, listen, apex).files[number].body.strip()


# --- whom to ask ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "address", "port"),
    [
        (None, "127.0.0.1", 5354),
        ("127.0.0.153", "127.0.0.153", 5354),
        ("127.0.0.153:53", "127.0.0.153", 53),
        ("::1", "::1", 5354),
        ("[::1]", "::1", 5354),
        ("[FD7A::1]:53", "fd7a::1", 53),
    ],
)
def test_listen_is_an_address_and_may_have_a_port(listen: str | None, address: str, port: int) -> None:
    assert target("minidisc.", listen) == Target("minidisc", address, port)


@pytest.mark.parametrize(
    "listen", ["", "localhost", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "[::1", "[::1]53", ":53"]
)
def test_anything_else_is_refused(listen: str) -> None:
    with pytest.raises(ConfigError, match="must be an address"):
        target("minidisc", listen)


@pytest.mark.parametrize("listen", ["0.0.0.0:53", "::"])
def test_nobody_can_be_asked_at_all_addresses(listen: str) -> None:
    with pytest.raises(ConfigError, match="no client can send queries to"):
        target("minidisc", listen)


@pytest.mark.parametrize("apex", ["a b", "..", "a/../b", 'x"', "x\nserver=/#/", "-x", "a..b", "ü", "x\\046y", ""])
def test_a_domain_that_a_file_would_read_otherwise_is_refused(apex: str) -> None:
    with pytest.raises(ConfigError, match="letters, digits, hyphens and dots"):
        target(apex, None)


# --- what all have in common ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_recipe_says_where_what_how_and_what_to_mind(kind: str) -> None:
    printed = text(made(kind), to(kind))
    first, *_ = printed.splitlines()
    assert first == f"# {made(kind).files[0].where}: written by mddns, 'md setup {kind}'"
    assert is_ours(printed)
    assert re.search(r"(?m)^#   (sudo )?md (forward --listen|advertise) ", printed)
    assert "# Notes:" in printed
    assert all(len(line) <= 100 for line in printed.splitlines() if line.startswith(("# - ", "#   ")))
    assert printed.startswith(content(made(kind), made(kind).files[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_only_its_files_own_lines_are_no_comments(kind: str) -> None:
    lines = [line for file in made(kind).files for line in file.body.strip().splitlines()]
    printed = [line for line in text(made(kind), to(kind)).splitlines() if line and not line.startswith("#")]
    assert printed == [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("kind", KINDS)
def test_another_domain_stands_in_its_place_and_in_the_commands(kind: str) -> None:
    printed = text(made(kind, apex="minidisc.internal"), to(kind, apex="minidisc.internal"))
    ours = [line for line in printed.splitlines() if line.startswith(("#   md ", "#   sudo md "))]
    assert ours
    assert all("--domain minidisc.internal" in line for line in ours)
    assert "minidisc.internal" in made(kind, apex="minidisc.internal").files[-1].body + printed.splitlines()[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_commands_of_a_recipe_are_commands_of_ours(kind: str) -> None:
    """What is typed; those that this version does not have are another's to test."""
    lines = re.findall(r"(?m)^#   (?:sudo )?md (.+)$", text(made(kind, apex="a.b"), to(kind, apex="a.b")))
    assert len(lines) >= 2
    for words in map(shlex.split, lines):
        context = group.make_context("md", words)
        command = group.get_command(context, words[0])
        if command is not None:
            command.make_context(words[0], words[1:], parent=context)


def test_a_file_of_somebody_else_is_not_ours() -> None:
    assert not is_ours("")
    assert not is_ours("server=/minidisc/1.2.3.4\n# /x: written by mddns, 'md setup dnsmasq'\n")


def test_those_that_can_be_applied_have_one_file_and_one_place_for_it() -> None:
    for kind in KINDS:
        its = made(kind)
        assert bool(its.places) == bool(its.reload) == (kind in APPLICABLE)
        if its.places:
            assert [file.where for file in its.files] == [its.places[0]]


# --- one by one -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("systemd", "place", "section", "domains"),
    [
        (None, DROP_IN, "Resolve", "~minidisc"),
        (257, DROP_IN, "Resolve", "~minidisc"),
        (258, DELEGATE, "Delegate", "minidisc"),
    ],
)
def test_resolved_gets_a_delegate_from_systemd_258_on(
    systemd: int | None, place: str, section: str, domains: str
) -> None:
    its = recipe("resolved", to("resolved"), systemd=systemd)
    read = configparser.ConfigParser()
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(its.files[0].body)
    assert {name: dict(read[name]) for name in read.sections()} == {
        section: {"DNS": "127.0.0.1:5354", "Domains": domains}
    }
    assert its.files[0].where == place
    assert set(its.places) == {DROP_IN, DELEGATE}


@pytest.mark.parametrize(
    ("told", "number"), [("systemd 252 (252.39-1~deb12u2)\n+PAM", 252), ("systemd 258\n", 258), ("x", None)]
)
def test_systemds_version_is_read(told: str, number: int | None) -> None:
    assert version(told) == number


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("resolved", "DNS=[::1]:53"),
        ("dnsmasq", "server=/minidisc/::1#53"),
        ("unbound", "    forward-addr: ::1@53"),
        ("macos", "nameserver ::1\nport 53"),
        ("coredns", "    forward . [::1]:53"),
        ("kubernetes", "        forward . [::1]:53"),
        ("headscale", '        - "::1"'),
        ("tailscale", """--data '{"minidisc": ["::1"]}'"""),
    ],
)
def test_ipv6_is_written_as_each_program_has_it(kind: str, line: str) -> None:
    assert line in body(kind, "[::1]:53")


def test_macos_has_a_file_named_like_the_domain() -> None:
    assert made("macos", apex="a.b").places == ("/etc/resolver/a.b",)
    assert body("macos") == "nameserver 127.0.0.1\nport 5354"


def test_networkmanager_gets_two_files() -> None:
    assert [file.where for file in made("networkmanager").files] == [
        "/etc/NetworkManager/conf.d/mddns.conf", "/etc/NetworkManager/dnsmasq.d/mddns.conf",
    ]  # fmt: skip
    assert body("networkmanager") == "[main]\ndns=dnsmasq"
    assert body("networkmanager", number=1) == body("dnsmasq")


def test_headscale_is_given_a_url_at_the_nodes_own_port_or_a_bare_address_for_port_53() -> None:
    def split(listen: str | None) -> object:
        return yaml.safe_load(body("headscale", listen))["dns"]["nameservers"]["split"]

    assert split(None) == {"minidisc": [f"http://{NODE}:28004/dns-query"]}
    assert split("[fd7a::1]:28004") == {"minidisc": ["http://[fd7a::1]:28004/dns-query"]}
    assert split("100.64.0.9:53") == {"minidisc": ["100.64.0.9"]}


def test_tailscale_has_no_other_port_than_53() -> None:
    assert f'{{"minidisc": ["{NODE}"]}}' in body("tailscale")
    with pytest.raises(ConfigError, match="port 53 only"):
        made("tailscale", "100.64.0.1:28004")


def test_the_tailscale_recipe_is_a_shell_script() -> None:
    done = subprocess.run(
        ["sh", "-n"], input=text(made("tailscale"), to("tailscale")), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_kubernetes_gets_a_config_map_with_corednss_block() -> None:
    document = yaml.safe_load(text(made("kubernetes"), to("kubernetes")))
    assert (document["kind"], document["metadata"]) == (
        "ConfigMap",
        {"name": "coredns-custom", "namespace": "kube-system"},
    )
    assert document["data"] == {"mddns.server": body("coredns", f"{NODE}:5354") + "\n"}


# --- by the programs themselves ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """alpha and bravo offer a service, alpha one at a private address besides; charlie has the forwarder."""
    bed = make_module_bed(["alpha", "bravo", "charlie"])
    for name in ("alpha", "bravo"):
        bed.host(name).start(["md", "advertise", "web", ":8080"]).wait_for("advertised")
    bed.host("alpha").start(["md", "advertise", "db", "10.1.2.3:5432"]).wait_for("advertised")
    (run,) = made("dnsmasq").first
    bed.host("charlie").start(shlex.split(run)).wait_for("127.0.0.1:5354")
    return bed


def applied(host: Host, kind: str) -> Path:
    """The file that `md setup KIND --apply` makes, below a root of its own."""
    root = host.directory / "root"
    done = host.run(["md", "setup", kind, "--apply", "--root", str(root)])
    assert done.returncode == 0, done.stderr
    return root / made(kind).places[0].lstrip("/")


def told(host: Host, name: str, rtype: str) -> set[str]:
    """What a resolver at the high port of 127.0.0.1 says."""
    done = host.run(["dig", "@127.0.0.1", "-p", str(HIGH), "+short", "+tries=1", "+time=2", name, rtype])
    return set(done.stdout.split("\n")) - {""}


def finds_it(host: Host) -> bool:
    """Whether a resolver there finds the services of both hosts, and the private address."""
    return told(host, "web.minidisc", "SRV") == BOTH and told(host, "db.minidisc", "A") == {"10.1.2.3"}


@pytest.mark.namespaces
def test_dnsmasq_takes_the_file_and_finds_our_names(bed: Bed) -> None:
    need("dnsmasq")
    need("dig")
    charlie = bed.host("charlie")
    file = applied(charlie, "dnsmasq")
    check = charlie.run(["dnsmasq", "--test", f"--conf-file={file}"])
    assert check.returncode == 0, check.stderr
    # stop-dns-rebind, and a private address: the trap that rebind-domain-ok is for.
    options = [
        "--no-resolv",
        "--no-hosts",
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        "--pid-file",
        "--user=root",
    ]
    options += ["--stop-dns-rebind", f"--port={HIGH}"]
    with charlie.start(["dnsmasq", "--keep-in-foreground", f"--conf-file={file}", *options]) as dnsmasq:
        assert wait_until(lambda: finds_it(charlie), 10), dnsmasq.stderr


@pytest.mark.namespaces
@pytest.mark.parametrize("anchored", [False, True], ids=["plain", "validating"])
def test_unbound_takes_the_file_and_finds_our_names(bed: Bed, anchored: bool) -> None:
    need("unbound")
    need("dig")
    charlie = bed.host("charlie")
    file = applied(charlie, "unbound")
    # The key of the root, of which nothing here can be validated: what is not excepted is SERVFAIL.
    anchor = 'trust-anchor: ". DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"'
    config = charlie.directory / "unbound.conf"
    config.write_text(
        f"""
server:
    interface: 127.0.0.1@{HIGH}
    username: ""
    chroot: ""
    pidfile: ""
    use-syslog: no
    directory: "{charlie.directory}"
    private-address: 10.0.0.0/8
    {anchor if anchored else 'module-config: "iterator"'}
remote-control:
    control-enable: no
include: "{file}"
"""
    )
    check = charlie.run(["unbound-checkconf", str(config)])
    assert check.returncode == 0, check.stderr
    with charlie.start(["unbound", "-d", "-c", str(config)]) as unbound:
        assert wait_until(lambda: finds_it(charlie), 15), unbound.stderr


@pytest.mark.parametrize("kind", ["coredns", "kubernetes"])
def test_coredns_takes_the_block_and_finds_our_names(bed: Bed, kind: str) -> None:
    """Where there is CoreDNS, which Debian does not have."""
    coredns = shutil.which("coredns")
    if coredns is None:
        pytest.skip("CoreDNS is not in PATH; Debian has none")
    need("dig")
    alpha = bed.host("alpha")
    listen = f"{alpha.ipv4}:{PORT}"
    block = body("coredns", listen)
    if kind == "kubernetes":
        block = yaml.safe_load(body("kubernetes", listen))["data"]["mddns.server"]
    file = alpha.directory / "Corefile"
    file.write_text(block)
    with alpha.start([coredns, "-conf", str(file), "-dns.port", str(HIGH)]) as program:
        assert wait_until(lambda: told(alpha, "web.minidisc", "SRV") == BOTH, 10), program.stdout + program.stderr


def test_headscales_server_answers_dns_over_http(bed: Bed) -> None:
    """The URL of the recipe, asked as Tailscale's clients do: POST, and any address that the record has."""
    import urllib.request

    from played import question

    from mddns.dns.message import NOERROR, Message

    alpha = bed.host("alpha")
    split = yaml.safe_load(body("headscale", f"{alpha.ipv4}:{PORT}"))["dns"]["nameservers"]["split"]
    (url,) = split["minidisc"]
    asked = urllib.request.Request(
        url, question("web.minidisc. SRV", rd=True), {"Content-Type": "application/dns-message"}
    )

    def post() -> bytes:
        with urllib.request.urlopen(asked, timeout=5) as reply:
            assert reply.headers["Content-Type"] == "application/dns-message"
            return bytes(reply.read())

    answer = Message(alpha.call(post))
    assert (answer.rcode, len(answer.answer)) == (NOERROR, 2)


# --- the document -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_document_shows_the_files_as_they_are_written(kind: str) -> None:
    found = blocks((ROOT / "docs/setup.md").read_text("utf-8"))
    shown = [block.text for block in found if block.info == ("conf", kind)]
    assert shown == ["\n".join(content(made(kind), file) for file in made(kind).files)]


@pytest.mark.parametrize(
    ("kind", "name"), [("dnsmasq", "dnsmasq.conf"), ("unbound", "unbound-forward.conf"), ("resolved", "resolved.conf")]
)
def test_what_is_tested_with_clients_is_what_is_written(kind: str, name: str) -> None:
    assert configuration(name) == content(made(kind), made(kind).files[0])
