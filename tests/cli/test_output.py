"""What the formats of `-o` print: each is read back, and nothing that a peer says can steer a terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any, Final

import dns.message
import dns.rdatatype
import dns.zone
import jsonschema
import pytest
import yaml
from docblocks import ROOT, blocks, table
from hypothesis import given, settings
from hypothesis import strategies as st
from program import MD, World

from mddns.base.model import Endpoint, Service, replace
from mddns.base.names import Name
from mddns.base.offer import Offer
from mddns.base.validation import label_problem, name_problem
from mddns.cli.parts.formats import age, in_format, labels_text, older_in
from mddns.cli.parts.options import FORMATS
from mddns.cli.parts.table import columns, shortened
from mddns.cli.parts.terminal import clean
from mddns.dns.message import Question
from mddns.files.yaml_file import read_config
from mddns.files.zone_file import read_zone
from mddns.zone.apex import Apex, next_serial
from mddns.zone.transfer import transfer_out
from mddns.zone.zone import Zone

APEX: Final = Name.parse("minidisc.")
NOW: Final = 1_800_000_000.0
SCHEMA: Final = json.loads((ROOT / "docs/service.schema.json").read_text("utf-8"))

WEB: Final = Service(
    "web",
    {"env": "prod", "version": "1.10"},
    Endpoint("100.64.0.1:8080"),
    addresses=("100.64.0.1", "fd7a::1"),
    host="alpha",
    owner="ann@example.com",
    via="100.64.0.1:28004",
    network="tailscale",
    since=int(NOW * 1000) - 7_300_000,
    rtt_ms=0.412,
    instance="alpha-8080",
)
SYSLOG: Final = Service(
    "syslog",
    {},
    Endpoint("[fd7a::2]:514"),
    addresses=("fd7a::2",),
    protocol="udp",
    priority=20,
    weight=5,
    host="bravo",
    tags=("tag:log", "tag:db"),
    instance="bravo-514-udp",
)
# What a peer may send that no file of ours would take, or a terminal would obey.
EVIL: Final = "\x1b[31mred\x07\r\n\u202egnp.exe\u2028\x9b2J\udcff"
HOSTILE: Final = replace(
    WEB,
    name="we\u202eb",
    labels={"env": EVIL, "k\x1b]0;owned\x07": "v", "ok": "yes", "naïve": "x"},
    host=f"al{EVIL}",
    owner=EVIL,
    tags=(EVIL,),
    via=EVIL,
    instance=EVIL,
)
# Control and format characters, line and paragraph separators: everything that is not for reading.
STEERS: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def text(output: str, *services: Service) -> str:
    """What is printed for them."""
    return "".join(f"{line}\n" for line in in_format(output, services, APEX, NOW))


def rows(output: str, *services: Service) -> list[dict[str, str]]:
    """A table's rows by the words of its head; no cell of these has two blanks in it."""
    head, *lines = [re.split(" {2,}", line) for line in text(output, *services).splitlines()]
    return [dict(zip(head, line, strict=True)) for line in lines]


# --- tables -----------------------------------------------------------------------------------------------------------


def test_a_table_has_name_address_labels_and_host() -> None:
    assert rows("table", WEB) == [
        {"NAME": "web", "ADDRESS": "100.64.0.1:8080", "LABELS": "env=prod version=1.10", "HOST": "alpha"}
    ]


def test_a_udp_service_says_so_in_the_table() -> None:
    assert "[fd7a::2]:514/udp" in text("table", SYSLOG)


def test_wide_tells_all_that_is_known() -> None:
    assert rows("wide", WEB)[0] == {
        **rows("table", WEB)[0],
        "PROTO": "tcp",
        "PRIO/WEIGHT": "10/10",
        "OWNER": "ann@example.com",
        "TAGS": "-",
        "VIA": "100.64.0.1:28004",
        "AGE": "2h",
        "RTT": "0.4ms",
    }


def test_wide_shows_tags_and_has_a_dash_for_what_is_unknown() -> None:
    (row,) = rows("wide", replace(SYSLOG, labels={"a": "b"}))
    assert (row["PROTO"], row["PRIO/WEIGHT"], row["TAGS"]) == ("udp", "20/5", "tag:log,tag:db")
    assert [row[key] for key in ("OWNER", "VIA", "AGE", "RTT")] == ["-"] * 4


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(-5, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86399, "23h"), (86400 * 40, "40d")],
)
def test_an_age_has_one_unit(seconds: float, told: str) -> None:
    assert age(seconds) == told


@pytest.mark.parametrize("seconds", [-7.5, 0, 0.25, 59.5, 60, 61, 3599.75, 7300, 86400, 100_000])
def test_an_age_stays_as_it_is_until_it_is_older(seconds: float) -> None:
    left = older_in(seconds)
    assert (age(seconds + left - 0.001), age(seconds + left) != age(seconds)) == (age(seconds), True)


def test_a_label_with_blanks_does_not_look_like_two() -> None:
    assert labels_text(replace(WEB, labels={"note": "a env=prod", "it": "isn't"})) == "'note=a env=prod' 'it=isn'\\''t'"


def test_columns_line_up_under_wide_and_combining_characters() -> None:
    lines = list(columns(("A", "B"), [("日本", "x"), ("ab\u0301c", "x"), ("abcd", "x")]))
    assert lines == ["A     B", "日本  x", "ab\u0301c   x", "abcd  x"]


def test_without_a_width_nothing_is_shortened() -> None:
    assert "x" * 500 in "\n".join(columns(("A", "B"), [("x" * 500, "y")]))


@pytest.mark.parametrize(
    ("text", "width", "told"),
    [
        ("abcd", 4, "abcd"),
        ("abcde", 4, "abc…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("ab", 1, "…"),
    ],
)
def test_a_text_is_cut_to_a_number_of_columns(
    text: str, width: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    assert shortened(text, width) == told


def test_the_elastic_column_alone_gives_way_to_a_narrow_terminal() -> None:
    lines = list(columns(("NAME", "LABELS", "HOST"), [("web", "env=prod region=eu", "alpha")], 1, 25))
    assert lines[1] == "web   env=prod re…  alpha"
    assert max(map(len, lines)) == 25


def test_a_column_is_never_narrower_than_its_head() -> None:
    lines = list(columns(("NAME", "LABELS", "HOST"), [("web", "env=prod region=eu", "alpha")], 1, 5))
    assert lines[1] == "web   env=p…  alpha"


# --- a terminal -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """alpha offers web."""
    with World(tmp_path_factory.mktemp("output")) as world:
        labels = ["env=prod", "note=" + "long " * 20 + "end"]
        world.start("advertise", "web", ":8080", *labels, node="alpha").wait_for("advertised")
        yield world


def on_terminal(world: World, *args: str, width: int, **env: str) -> str:
    """What `md` shows on a terminal of that width."""
    main, sub = pty.openpty()
    ioctl(sub, termios.TIOCSWINSZ, struct.pack("4H", 24, width, 0, 0))
    with os.fdopen(main, "rb", buffering=0) as screen:
        subprocess.run(
            [*MD, *args], stdin=sub, stdout=sub, stderr=sub, env=world.env(None, env), check=True, timeout=20
        )
        os.close(sub)
        shown = b""
        try:
            while octets := screen.read(65536):
                shown += octets
        except OSError:  # EIO: all has been read
            pass
    return shown.decode().replace("\r\n", "\n")


def test_a_wide_terminal_shows_what_a_pipe_gets_with_a_bold_head(world: World) -> None:
    piped = world.md("list").stdout
    assert on_terminal(world, "list", width=300) == re.sub("^(NAME.*)$", "\x1b[1m\\1\x1b[0m", piped, flags=re.M)


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_color_and_a_dumb_terminal_get_plain_text(world: World, env: dict[str, str]) -> None:
    assert on_terminal(world, "list", width=300, **env) == world.md("list").stdout


def test_an_empty_no_color_is_none(world: World) -> None:
    assert "\x1b[1m" in on_terminal(world, "list", width=300, NO_COLOR="")


def test_labels_are_shortened_on_a_narrow_terminal_and_addresses_are_not(world: World) -> None:
    shown = on_terminal(world, "list", width=60, NO_COLOR="1")
    assert max(map(len, shown.splitlines())) == 60
    assert "127.0.0.1:8080" in shown
    assert "…  alpha" in shown


def test_a_pipe_gets_labels_whole_however_narrow_the_terminal(world: World) -> None:
    assert "long end'" in world.md("list", env={"COLUMNS": "20"}).stdout


# --- files ------------------------------------------------------------------------------------------------------------


def offered(offer: Offer) -> dict[str, Any]:
    """What an offer says, whichever file it came from."""
    return {
        "name": offer.name,
        "labels": offer.labels,
        "endpoint": str(Endpoint.of(offer.address or "", offer.port)),
        "protocol": offer.protocol,
        "numbers": (offer.priority, offer.weight),
        "addresses": offer.addresses or (offer.address,),
    }


def told(service: Service) -> dict[str, Any]:
    """The same of a service that was found."""
    return {
        "name": service.name,
        "labels": service.labels,
        "endpoint": str(service.endpoint),
        "protocol": service.protocol,
        "numbers": (service.priority, service.weight),
        "addresses": service.addresses,
    }


def test_yaml_is_read_back_as_it_was() -> None:
    assert [offered(each) for each in read_config(text("yaml", WEB, SYSLOG), "out")] == [told(WEB), told(SYSLOG)]


def test_a_zone_is_read_back_as_it_was() -> None:
    offers, skipped = read_zone(text("zone", WEB, SYSLOG), "out", "minidisc")
    assert [offered(each) for each in offers] == [told(WEB), told(SYSLOG)]
    assert [remark.split(": ", 1)[1] for remark in skipped] == [
        *(f"{rtype} skipped; mddns makes its own" for rtype in ("SOA", "NS")),
        "this is a whole zone; only its instances are read, mddns derives the rest",
    ]


@pytest.mark.parametrize("output", ["yaml", "zone"])
def test_a_file_without_services_is_read_back(output: str) -> None:
    assert (
        read_config(text("yaml"), "out") if output == "yaml" else read_zone(text("zone"), "out", "minidisc")[0]
    ) == []


@pytest.mark.parametrize(
    "value", ["1.10", "no", "12:30", "007", "null", "2026-01-01", "", "~", "a: b # c", "\\x41", '"']
)
def test_yaml_keeps_text_as_text_in_any_reader(value: str) -> None:
    labels = {"on": value, "1.0": "x"}
    assert yaml.safe_load(text("yaml", replace(WEB, labels=labels)))["services"][0]["labels"] == labels


def test_the_zone_is_what_a_transfer_of_it_says() -> None:
    """dnspython reads both: the file, and the messages of AXFR."""
    apex = Name.parse("minidisc.")
    printed = text("zone", WEB, SYSLOG, replace(HOSTILE, endpoint=Endpoint("100.64.0.3:8080"), srv=("etcd-client",)))
    messages = transfer_out(
        Question(apex.wire, apex.key, 252, 1),
        1,
        Apex(apex, next_serial(None, int(NOW * 1000)), ("127.0.0.1",)),
        Zone(apex.wire, [WEB, SYSLOG, replace(HOSTILE, endpoint=Endpoint("100.64.0.3:8080"), srv=("etcd-client",))]),
    )
    zone = dns.zone.from_text(printed, relativize=False)
    found = {(name, rdata) for name, _, rdata in zone.iterate_rdatas()}
    sent = {
        (rrset.name, rdata)
        for wire in messages
        for rrset in dns.message.from_wire(wire, xfr=True).answer
        for rdata in rrset
    }
    assert found == sent
    assert len(found) > 30


def test_two_instances_that_call_themselves_alike_stay_two_in_a_zone() -> None:
    other = replace(WEB, endpoint=Endpoint("100.64.0.2:8080"), addresses=("100.64.0.2",), labels={"env": "dev"})
    offers, _ = read_zone(text("zone", WEB, other), "out", "minidisc")
    assert [(offer.address, offer.labels["env"]) for offer in offers] == [("100.64.0.1", "prod"), ("100.64.0.2", "dev")]


def test_an_instance_that_calls_itself_a_wildcard_is_none_in_a_zone() -> None:
    assert "*" not in text("zone", replace(WEB, instance="*"))


_names = st.text(min_size=1, max_size=20).filter(lambda name: name_problem(name) is None)
_labels = st.dictionaries(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=8),
    st.text(max_size=20),
    max_size=4,
).filter(
    lambda labels: (
        not any(label_problem(*pair) for pair in labels.items()) and len({key.lower() for key in labels}) == len(labels)
    )
)


@settings(max_examples=150, deadline=None)
@given(_names, _labels)
def test_whatever_may_be_offered_is_read_back_from_both_files(name: str, labels: dict[str, str]) -> None:
    service = replace(WEB, name=name, labels=labels)
    for offers in (
        read_config(text("yaml", service), "out"),
        read_zone(text("zone", service), "out", "minidisc")[0],
    ):
        assert [offered(each) for each in offers] == [told(service)]


# --- hostile text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", FORMATS)
def test_nothing_that_steers_a_terminal_is_printed(output: str) -> None:
    printed = text(output, HOSTILE) if output != "name" else HOSTILE.endpoint
    assert not STEERS.search(printed)


@pytest.mark.parametrize("output", ["table", "wide", "jsonl"])
def test_a_newline_in_a_label_makes_no_line(output: str) -> None:
    assert len(text(output, HOSTILE).splitlines()) == (1 if output == "jsonl" else 2)


def test_labels_that_no_file_can_hold_are_left_out_and_told() -> None:
    printed = text("yaml", HOSTILE)
    assert [dict(offer.labels) for offer in read_config(printed, "out")] == [{"ok": "yes"}]
    remarks = [line for line in printed.splitlines() if line.strip().startswith("#")]
    assert ["left out: label" in remark for remark in remarks] == [True] * 3


def test_labels_that_no_file_can_hold_are_in_a_zone_and_left_out_by_who_reads_it() -> None:
    offers, remarks = read_zone(text("zone", HOSTILE), "out", "minidisc")
    assert [dict(offer.labels) for offer in offers] == [{"ok": "yes"}]
    assert ["left out: label" in remark for remark in remarks[-3:]] == [True] * 3


def test_a_service_at_an_address_that_is_none_is_left_out_and_told() -> None:
    nowhere = replace(WEB, endpoint=Endpoint.of("0.0.0.0", 80), addresses=("0.0.0.0",))
    printed = text("yaml", nowhere, SYSLOG)
    assert [offer.name for offer in read_config(printed, "out")] == ["syslog"]
    assert "left out: web at 0.0.0.0:80" in printed


def test_a_service_at_an_address_that_is_none_is_left_out_by_who_reads_a_zone() -> None:
    """Without it, it would be this node's own."""
    nowhere = replace(WEB, endpoint=Endpoint.of("0.0.0.0", 80), addresses=("0.0.0.0",))
    offers, remarks = read_zone(text("zone", nowhere, SYSLOG), "out", "minidisc")
    assert [offer.name for offer in offers] == ["syslog"]
    assert "left out: no address of the target" in remarks[-1]


def test_aliases_are_read_back_from_a_zone() -> None:
    offers, _ = read_zone(text("zone", replace(WEB, srv=("a", "b"))), "out", "minidisc")
    assert [offer.srv for offer in offers] == [("a", "b")]


def test_json_has_no_lone_surrogates() -> None:
    (service,) = json.loads(text("json", HOSTILE))
    json.dumps(service, ensure_ascii=False).encode()  # what a strict reader does
    assert service["labels"]["env"] == EVIL.replace("\udcff", "\ufffd")


def test_what_is_escaped_can_still_be_read() -> None:
    assert clean("a\x1b[1m\u202eb\udcff\U000e0001ä") == "a\\x1b[1m\\u202eb\\xff\\U000e0001ä"


def test_hostile_labels_and_hosts_come_out_escaped_by_the_program(tmp_path: Path) -> None:
    with World(tmp_path, ("al\x1b[31mpha",)) as world:
        label = "env=\x1b]0;owned\x07\u202e\ntwo"
        world.start("advertise", "web", ":80", label, node="al\x1b[31mpha").wait_for("advertised")
        for output in FORMATS:
            done = world.md("lookup", "web", "-o", output)
            assert done.returncode == 0, done.stderr
            assert not STEERS.search(done.stdout + done.stderr), output
        query = world.md("query", "web")
        assert not STEERS.search(query.stdout + query.stderr)


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", [WEB, SYSLOG, HOSTILE], ids=["web", "syslog", "hostile"])
def test_a_service_has_the_shape_of_version_1(service: Service) -> None:
    for each in (json.loads(text("json", service))[0], json.loads(text("jsonl", service))):
        jsonschema.validate(each, SCHEMA)


def test_the_schema_refuses_another_shape() -> None:
    good = json.loads(text("jsonl", WEB))
    for key in good:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({other: value for other, value in good.items() if other != key}, SCHEMA)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**good, key: {"wrong": 1}}, SCHEMA)


def test_schema_document_and_program_have_the_same_keys() -> None:
    document = (ROOT / "docs/json.md").read_text("utf-8")
    (example,) = next(json.loads(block.text) for block in blocks(document) if block.language == "json")
    described = [key for row in table(document, "Keys") for key in row["key"].split(", ")]
    printed = json.loads(text("jsonl", WEB))
    assert list(printed) == list(example) == described == SCHEMA["required"] == list(SCHEMA["properties"])
    jsonschema.validate(example, SCHEMA)


def test_json_is_one_array_and_jsonl_an_object_a_line() -> None:
    assert [each["name"] for each in json.loads(text("json", WEB, SYSLOG))] == ["web", "syslog"]
    assert [json.loads(line)["name"] for line in io.StringIO(text("jsonl", WEB, SYSLOG))] == ["web", "syslog"]


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["list"], ["find", "web"], ["lookup", "web"], ["demo", "--once"]], ids=" ".join)
def test_every_command_that_prints_services_has_every_format(world: World, command: list[str]) -> None:
    printed = {output: world.md(*command, "-o", output).stdout for output in FORMATS}
    assert printed["table"].startswith("NAME ")
    assert " VIA " in printed["wide"].splitlines()[0]
    names = [each["name"] for each in json.loads(printed["json"])]
    assert names == [json.loads(line)["name"] for line in printed["jsonl"].splitlines()]
    assert names == [offer.name for offer in read_config(printed["yaml"], "out")]
    assert sorted(names) == sorted(offer.name for offer in read_zone(printed["zone"], "out", "minidisc")[0])
    assert printed["name"].split() == [each["addrPort"] for each in json.loads(printed["json"])]


def test_the_zone_is_that_of_the_domain(world: World) -> None:
    domain = ["--domain", "minidisc.internal"]
    assert world.md("list", *domain, "-o", "zone").stdout.startswith("$ORIGIN minidisc.internal.\n")


def test_find_prints_a_bare_endpoint_unless_told_otherwise(world: World) -> None:
    assert world.md("find", "web").stdout == "127.0.0.1:8080\n"
    assert world.md("find", "web", "-o", "table").stdout.startswith("NAME ")
    assert world.md("find", "web", env={"MDDNS_OUTPUT": "json"}).stdout.startswith("[")


def test_query_has_json_lines_as_well(world: World) -> None:
    lines = world.md("query", "web", "-o", "jsonl").stdout.splitlines()
    assert {json.loads(line)["peer"] for line in lines} == {"alpha", "bravo"}


def test_query_refuses_a_format_that_it_has_not_unless_the_environment_said_it(world: World) -> None:
    done = world.md("query", "web", "-o", "zone")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "md: output 'zone': this command supports only table, json, jsonl\n"
    assert world.md("query", "web", env={"MDDNS_OUTPUT": "zone"}).returncode == 0


def test_an_unknown_format_is_told_with_where_it_was_said(world: World) -> None:
    assert world.md("list", "-o", "xml").stderr.startswith("md: output 'xml': must be one of table, wide,")
    assert world.md("list", env={"MDDNS_OUTPUT": "xml"}).stderr.startswith("md: MDDNS_OUTPUT 'xml': must be one of")
