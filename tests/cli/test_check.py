"""`md check`: whether a file is right, and every word on one that is not. And docs/files.md, which tells of files."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from docblocks import ROOT, Block, blocks
from inside import Md, md_inside

from mddns.base.names import Name
from mddns.base.offer import Offer, make
from mddns.cli.advertise import command as advertise
from mddns.cli.check import without_view
from mddns.cli.parts.service_files import is_zone, read_offers
from mddns.cli.parts.service_words import Spoken, in_words, offer_of
from mddns.files.yaml_file import read_config
from mddns.files.zone_file import read_zone
from mddns.zone.zone import view_pair

APEX = Name.parse("minidisc")
GOOD = [*sorted((ROOT / "zones").glob("*.zone")), ROOT / "example-cfg.yaml"]


@pytest.fixture
def md(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Md:
    return md_inside(monkeypatch, capsys)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`written("a.yaml", text)`: a file in the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, text: str | bytes) -> str:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    return write


def advertised(line: str) -> Offer:
    """What `md advertise` makes of a line that `md check` prints."""
    params = advertise.make_context("advertise", shlex.split(line, comments=True)).params
    return offer_of(params["words"], Spoken(**{field: params[field] for field in Spoken._fields}), "md advertise")


# --- right files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_every_example_file_is_right(md: Md, path: Path) -> None:
    code, out, err = md("check", path)
    assert code == 0
    assert len(out.splitlines()) == len(read_offers(str(path), APEX).offers) > 0
    assert f"{path}: ok" in err.splitlines()[-1]


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_a_line_is_what_advertise_takes(path: Path) -> None:
    for offer in read_offers(str(path), APEX).offers:
        assert advertised(in_words(offer)) == replace(offer, addresses=())


@pytest.mark.parametrize(
    "offer",
    [
        make(80, "-x", {"a": "$(b) 'c'"}),
        make(80, "--weight"),
        make(80, "a b", address="fd7a::9"),
        make(80, "ü#x"),
        make(80, "x", protocol="udp", priority=0, weight=65535),
    ],
    ids=lambda offer: offer.name,
)
def test_a_line_quotes_what_a_shell_would_take_for_something_else(offer: Offer) -> None:
    assert advertised(in_words(offer)) == offer


def test_addresses_that_advertise_does_not_take_are_a_comment() -> None:
    offer = make(80, "web", address="100.64.0.1", addresses=["100.64.0.1", "fd7a::1"])
    assert in_words(offer) == "web 100.64.0.1:80  # also fd7a::1"


def test_skipped_records_are_told_on_stderr(md: Md, written: Callable[..., str]) -> None:
    path = written("w.zone", "@ NS ns\nweb SRV 10 10 80 alpha\nalpha A 100.64.0.1\n")
    code, out, err = md("check", path)
    assert (code, out) == (0, "web 100.64.0.1:80\n")
    assert err.startswith("md: w.zone:1: NS skipped; mddns makes its own\n")


def test_the_domain_is_that_of_the_option(md: Md, written: Callable[..., str]) -> None:
    path = written("w.zone", "$ORIGIN example.\nweb SRV 10 10 80 alpha\nalpha A 100.64.0.1\n")
    assert md("check", path)[0] == 2
    assert md("check", "--domain", "example", path)[0] == 0


def test_standard_input_is_checked(md: Md) -> None:
    assert md("check", "-", stdin=b"services: [{name: web, address: ':80'}]")[:2] == (0, "web :80\n")
    code, _, err = md("check", "-", stdin=b"services: [{name: web}]")
    assert (code, err[:19]) == (2, "md: standard input:")


# --- which kind -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "; a comment\n",
        "\n\n  ; a comment\n",
        "$ORIGIN minidisc.\n",
        "$TTL 5\n",
        "@ SOA ns h 1 2 3 4 5\n",
        "@\tIN\tNS\tns\n",
        "web SRV 10 10 80 alpha\n",
        "web 5 IN SRV 10 10 80 alpha\n",
        "web IN 1h30m SRV 10 10 80 alpha\n",
        "\ufeffalpha a 100.64.0.1\n",
        "_web._tcp TXT ( \n",
    ],
)
def test_text_that_begins_like_a_zone_file_is_one(text: str) -> None:
    assert is_zone("services", text)
    assert is_zone("-", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "services:\n",
        "# comment\nservices: []",
        "---\nservices: []",
        "{services: []}",
        "web A: 1",
        "a: SRV 1",
        "%Y",
    ],
)
def test_anything_else_is_yaml(text: str) -> None:
    assert not is_zone("services", text)


@pytest.mark.parametrize(("path", "zone"), [("a.zone", True), ("A.ZONE", True), ("a.yaml", False), ("a.yml", False)])
def test_a_suffix_decides_before_the_text(path: str, zone: bool) -> None:
    assert is_zone(path, "web SRV 1 1 1 a") == is_zone(path, "services: []") == zone


# --- wrong files ------------------------------------------------------------------------------------------------------


def test_all_faults_come_at_once_with_line_and_key(md: Md, written: Callable[..., str]) -> None:
    text = "services:\n- name: ns\n  address: :80\n- name: web\n  address: :0\n  lables: {a: b}\n"
    code, out, err = md("check", written("my.yaml", text))
    assert (code, out) == (2, "")
    assert [re.match(r"md: (my\.yaml:\d+: [\w\[\].]+):", line)[1] for line in err.splitlines()] == [  # type: ignore[index]
        "my.yaml:2: services[0].name",
        "my.yaml:5: services[1].address",
        "my.yaml:6: services[1].lables",
    ]


def test_all_faults_of_a_zone_file_come_at_once(md: Md, written: Callable[..., str]) -> None:
    code, out, err = md("check", written("z", "web SRV 10 10 0 alpha\nalpha A nowhere\nx MX 10 y\n"))
    assert (code, out) == (2, "")
    assert [line.split(":")[2] for line in err.splitlines()] == ["1", "2", "3"]


def test_a_wrong_file_does_not_hide_the_others(md: Md, written: Callable[..., str]) -> None:
    bad, good = written("bad.yaml", "services: [{}]"), written("good.yaml", "services: [{name: web, address: 80}]")
    code, out, err = md("check", bad, good)
    assert (code, out) == (2, "web :80\n")
    assert "bad.yaml:1" in err
    assert "good.yaml: ok; 1 service\n" in err


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nope.yaml", "the file 'nope.yaml' does not exist"),
        (".", os.strerror(errno.EISDIR)),
        ("/dev/zero", "the limit is 12,000,000 octets"),
        ("a\0b", "md: a\\x00b"),
        ("x/" * 5000, os.strerror(errno.ENAMETOOLONG)),
        ("latin.yaml", "latin.yaml:2: octet 0xe9 is not UTF-8: save the file as UTF-8"),
        ("empty.yaml", "the file is empty"),
        ("empty.zone", "no records"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_fault(md: Md, written: Callable[..., str], path: str, said: str) -> None:
    written("latin.yaml", b"services:\n- name: caf\xe9\n")
    written("empty.yaml", "")
    written("empty.zone", "")
    code, out, err = md("check", path)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_what_a_file_says_does_not_steer_the_terminal(md: Md, written: Callable[..., str]) -> None:
    path = written("my.yaml", 'services: [{name: "a\\u202eb", address: ":80", labels: {k: "\\e[31m", "\\e]0;": "x"}}]')
    _, out, err = md("check", path)
    assert (out + err).replace("\n", "").isprintable()
    path = written("my.yaml", 'services: [{name: "a\\u202eb", address: ":80", labels: {k: "\\e[31m"}}]')
    code, out, err = md("check", path)
    assert code == 0
    assert (out + err).replace("\n", "").isprintable()


# --- views ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("TCP", "x", "_TCP has a meaning of its own in DNS-SD"),
        ("list", "x", "_list has a meaning of its own in DNS-SD"),
        ("k" * 63, "x", "the key has 63 octets; the limit is 62"),
        ("a.b", "x", "letters, digits and hyphens"),
        ("a_b", "x", "letters, digits and hyphens"),
        ("a b", "x", "letters, digits and hyphens"),
        ("env", "", "the value is empty"),
        ("env", "_x", "cannot start with '_'"),
        ("env", "x" * 64, "the value has 64 octets; the limit is 63"),
        ("env", "ü" * 32, "the value has 64 octets; the limit is 63"),
        ("env", "prod", None),
        ("k" * 62, "x" * 63, None),
        ("a-1", "with dots. and blanks", None),
        ("-", "ü", None),
    ],
)
def test_a_pair_without_view_is_told_with_the_reason(key: str, value: str, why: str | None) -> None:
    told = list(without_view([make(80, "web", {key: value}, where="a.yaml:3")]))
    assert (view_pair(key, value) is None) == (why is not None)
    if why is None:
        assert told == []
    else:
        (line,) = told
        assert line.startswith(f"a.yaml:3: web: {key}={value} cannot be part of a name: ")
        assert why in line


def test_a_pair_without_view_is_no_fault(md: Md, written: Callable[..., str]) -> None:
    code, out, err = md("check", written("a.yaml", "services: [{name: web, address: ':80', labels: {a.b: c}}]"))
    assert (code, out) == (0, "web :80 a.b=c\n")
    assert "md: a.yaml:1: web: a.b=c cannot be part of a name" in err


# --- docs/files.md ----------------------------------------------------------------------------------------------------

DOCUMENT = blocks((ROOT / "docs/files.md").read_text("utf-8"))


@pytest.mark.parametrize(
    "block", [each for each in DOCUMENT if each.language in ("yaml", "zone")], ids=lambda b: b.line
)
def test_a_file_of_the_document_is_right(block: Block) -> None:
    if block.language == "zone":
        assert read_zone(block.text, "document", "minidisc")[0]
    else:
        assert read_config(block.text, "document")


@pytest.mark.parametrize(
    "block", [each for each in DOCUMENT if each.language == "console"], ids=lambda block: str(block.line)
)
def test_a_check_of_the_document_prints_what_it_shows(md: Md, written: Callable[..., str], block: Block) -> None:
    """The files are those of the blocks that say `file=NAME`."""
    for each in DOCUMENT:
        if name := each.options().get("file"):
            written(name, each.text)
    command, *shown = block.text.splitlines()
    prompt, program, *words = shlex.split(command)
    assert (prompt, program, words[0]) == ("$", "md", "check")
    _, out, err = md(*words)
    assert [*err.splitlines(), *out.splitlines()] == shown or [*out.splitlines(), *err.splitlines()] == shown


# In the formats of other commands

TWO = "services: [{name: web, address: ':8080', srv: app}, {name: db, address: '100.64.0.9:5432', labels: {a: b}}]"


@pytest.mark.parametrize(
    ("output", "expected"),
    [("name", ":8080\n100.64.0.9:5432\n"), ("table", "web   :8080")],
)
def test_services_are_printed_in_another_format_where_one_is_asked_for(
    md: Md, written: Callable[..., str], output: str, expected: str
) -> None:
    code, out, _ = md("check", written("a.yaml", TWO), "-o", output)
    assert (code, expected in out) == (0, True)


def test_json_of_a_file_has_the_documented_shape(md: Md, written: Callable[..., str]) -> None:
    _, out, _ = md("check", written("a.yaml", TWO), "-o", "json")
    assert [(each["name"], each["addrPort"], each["addresses"]) for each in json.loads(out)] == [
        ("web", ":8080", []),
        ("db", "100.64.0.9:5432", ["100.64.0.9"]),
    ]


def test_yaml_of_a_file_is_the_same_file(md: Md, written: Callable[..., str]) -> None:
    _, out, _ = md("check", written("a.yaml", TWO), "-o", "yaml")
    again = md("check", written("b.yaml", out))
    assert again[:2] == md("check", written("a.yaml", TWO))[:2]


def test_a_zone_leaves_out_what_has_no_address_with_a_word(md: Md, written: Callable[..., str]) -> None:
    _, out, _ = md("check", written("a.yaml", TWO), "-o", "zone")
    assert "; left out: web: a zone file needs an address" in out
    assert "db SRV 10 10 5432" in out


def test_a_check_and_aliases_are_told_in_words(md: Md, written: Callable[..., str]) -> None:
    text = "services: [{name: web, address: ':8080', srv: [a, b], check: {http: /x, status: 200}}]"
    _, out, _ = md("check", written("a.yaml", text))
    assert out == "--srv a --srv b --check /x web :8080  # its check has more settings\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "services: [{name: db, address: '127.0.0.1:5432', labels: {}}]"),
        ("a.yaml", "services: [{name: db, address: ':5432', labels: {}, addresses: ['fe80::1', '100.64.0.1']}]"),
        ("a.zone", "db SRV 10 10 5432 here\nhere A 127.0.0.1\n"),
        ("a.zone", "db SRV 10 10 5432 here\nhere A 169.254.0.1\n"),
    ],
)
def test_an_address_that_no_other_machine_can_use_is_told(
    md: Md, written: Callable[..., str], name: str, text: str
) -> None:
    code, _, err = md("check", written(name, text))
    assert code == 0
    assert f"md: {name}:1: db at " in err
    assert "Write ':5432'" in err
