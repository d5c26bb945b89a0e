"""Minidisc's YAML as people write it, and every slip answered with file, line and key."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from places import ROOT

from mddns.base.errors import ConfigError
from mddns.base.offer import Offer
from mddns.base.validation import MAX_SERVICES, RESERVED_NAMES, label_problem, name_problem
from mddns.files import yaml_file
from mddns.files.yaml_file import SERVICE_KEYS, read_config

TOP = ROOT


def one(entry: str) -> Offer:
    """The only service of a file with this one entry, given in block style from column 4 on."""
    (offer,) = read_config(f"services:\n  - {entry.strip()}\n", "my.yaml")
    return offer


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_config(text, "my.yaml")
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def fault(text: str) -> str:
    (only,) = faults(text)
    return only


@pytest.fixture(params=["libyaml", "pure Python"])
def _each_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pure Python":
        monkeypatch.setattr(yaml_file, "_LOADER", yaml.BaseLoader)
    elif not hasattr(yaml, "CBaseLoader"):
        pytest.skip("this PyYAML has no libyaml")


def test_minidiscs_own_example_is_read() -> None:
    text = """\
services:
  - name: foobar
    address: 100.1.2.3:42
    labels:
      gugus: dada
      bla: blub
  - name: frobotnik
    address: :4711
"""
    assert read_config(text, "my.yaml") == [
        Offer("foobar", {"gugus": "dada", "bla": "blub"}, 42, "100.1.2.3", where="my.yaml:2"),
        Offer("frobotnik", {}, 4711, where="my.yaml:7"),
    ]


def test_every_key_of_ours_is_read() -> None:
    offer = one(
        "{name: web, address: 8080, protocol: udp, priority: 0, weight: 65535, addresses: ['fd7a::0:1', 1.2.3.4]}"
    )
    assert offer == Offer("web", {}, 8080, None, "udp", 0, 65535, ("1.2.3.4", "fd7a::1"), "my.yaml:2")


@pytest.mark.parametrize(
    "scalar",
    [
        "1.10",
        "no",
        "on",
        "yes",
        "12:30",
        "007",
        "0x10",
        "1e3",
        "null",
        "~",
        "2024-01-01",
        "2001-12-14 21:59:43",
        ".inf",
        "=",
    ],
)
@pytest.mark.parametrize("quote", ["", "'", '"'])
@pytest.mark.usefixtures("_each_parser")
def test_scalars_stay_as_written(scalar: str, quote: str) -> None:
    assert one(f"name: web\n    address: :80\n    labels:\n      key: {quote}{scalar}{quote}").labels == {"key": scalar}


def test_a_name_and_a_key_stay_as_written_too() -> None:
    offer = one("name: 007\n    address: :80\n    labels: {on: 1, 1.10: 2}")
    assert (offer.name, dict(offer.labels)) == ("007", {"on": "1", "1.10": "2"})


def test_a_label_without_value_is_empty() -> None:
    assert one("name: web\n    address: :80\n    labels:\n      beta:\n").labels == {"beta": ""}


@pytest.mark.parametrize("nothing", ["", "~", "null", "{}"])
def test_labels_may_be_nothing(nothing: str) -> None:
    assert one(f"name: web\n    address: :80\n    labels: {nothing}").labels == {}


@pytest.mark.parametrize("nothing", ["", "~", "[]"])
def test_services_may_be_none(nothing: str) -> None:
    assert read_config(f"services: {nothing}\n", "my.yaml") == []


@pytest.mark.usefixtures("_each_parser")
def test_aliases_and_merge_keys_are_resolved_and_the_own_key_wins() -> None:
    text = """\
services:
  - name: a
    address: ":1"
    labels: &common
      env: prod
      region: eu
  - {name: b, address: ":2", labels: *common}
  - {name: c, address: ":3", labels: {region: us, <<: *common}}
  - {name: d, address: ":4", labels: {<<: [{env: dev}, *common]}}
"""
    offers = read_config(text, "my.yaml")
    assert [dict(offer.labels) for offer in offers] == [
        {"env": "prod", "region": "eu"},
        {"env": "prod", "region": "eu"},
        {"region": "us", "env": "prod"},
        {"env": "dev", "region": "eu"},
    ]
    assert [offer.where for offer in offers] == ["my.yaml:2", "my.yaml:7", "my.yaml:8", "my.yaml:9"]


@pytest.mark.parametrize("merged", ["x", "[x]", "[[{}]]"])
def test_a_merge_key_takes_mappings_alone(merged: str) -> None:
    found = fault(f"services:\n  - name: web\n    address: :80\n    labels:\n      <<: {merged}\n")
    assert found.startswith("my.yaml:5: services[0].labels.'<<': '<<' can merge mappings only")


def test_a_quoted_merge_key_is_a_label() -> None:
    assert one("name: web\n    address: :80\n    labels: {'<<': x}").labels == {"<<": "x"}


def test_a_byte_order_mark_and_crlf_are_read() -> None:
    assert one("name: web\r\n    address: :80\r").name == "web"
    assert read_config("\ufeffservices: []\n", "my.yaml") == []


def test_a_name_is_put_into_normal_form_c() -> None:
    assert one("name: cafe\u0301\n    address: :80").name == "caf\u00e9"


# --- what is wrong -------------------------------------------------------------------------------------------------


def test_all_faults_come_at_once_in_order_of_lines() -> None:
    text = """\
services:
  - name: ns
    address: :0
    labels:
      a=b: 1
      md.x: 2
      Env: 3
      env: 4
      list: [5]
  - adress: :80
    protocol: TCP
    priority: -1
    weight: 65536
    addresses: [100.64.0.1, elsewhere]
  - just text
typo: 1
"""
    found = faults(text)
    assert [line.split(": ")[:2] for line in found] == [
        ["my.yaml:2", "services[0].name"],
        ["my.yaml:3", "services[0].address"],
        ["my.yaml:5", "services[0].labels.'a=b'"],
        ["my.yaml:6", "services[0].labels.'md.x'"],
        ["my.yaml:8", "services[0].labels.env"],
        ["my.yaml:9", "services[0].labels.list"],
        ["my.yaml:10", "services[1].adress"],
        ["my.yaml:10", "services[1]"],
        ["my.yaml:10", "services[1]"],
        ["my.yaml:11", "services[1].protocol"],
        ["my.yaml:12", "services[1].priority"],
        ["my.yaml:13", "services[1].weight"],
        ["my.yaml:14", "services[1].addresses[1]"],
        ["my.yaml:15", "services[2]"],
        ["my.yaml:16", "typo"],
    ]


@pytest.mark.parametrize(
    ("key", "meant"),
    [("label", "labels"), ("Labels", "labels"), ("adress", "address"), ("weigth", "weight"), ("port", "address"),
     ("addrPort", "address"), ("tags", "labels")],
)  # fmt: skip
def test_an_unknown_key_is_an_error_that_says_what_was_meant(key: str, meant: str) -> None:
    found = fault(f"services:\n  - name: web\n    address: :80\n    {key}: x\n")
    assert found == f"my.yaml:4: services[0].{key}: unknown key; did you mean {meant!r}?"


def test_an_unknown_key_like_none_of_ours_lists_ours() -> None:
    found = fault("services:\n  - name: web\n    address: :80\n    zzz: x\n")
    assert found.endswith("unknown key; known are " + ", ".join(SERVICE_KEYS))


@pytest.mark.parametrize("text", ["- name: web\n", "just text\n", "---\n", "3\n", "[]\n"])
def test_what_is_no_mapping_is_told_with_the_shape_that_is(text: str) -> None:
    assert "must be a mapping" in fault(text)
    assert "'services:'" in fault(text)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_an_empty_file_is_an_error_since_editors_pass_through_it(text: str) -> None:
    assert fault(text).startswith("my.yaml:1: the file is empty")


@pytest.mark.usefixtures("_each_parser")
def test_a_tab_is_named_with_its_line() -> None:
    found = fault("services:\n  - name: web\n\taddress: :80\n")
    assert found.startswith("my.yaml:3: this is not YAML")
    assert found.endswith("there is a tab; YAML must be indented with spaces")


def test_an_ipv6_address_without_quotes_is_told_how() -> None:
    assert "in quotes" in fault("services:\n  - name: web\n    address: [fd7a::9]:5432\n")
    assert "in quotes" in fault("services:\n  - name: web\n    address: [fd7a::9]\n")


def test_an_address_in_braces_without_quotes_is_told_how() -> None:
    assert "as in ':8080'" in fault("services:\n  - {name: web, address: :80}\n")


@pytest.mark.parametrize("text", ["services: [", "a: 'b", "a: b: c", "]", "%", "a: *b", "a: b\n c: d", "{a"])
@pytest.mark.usefixtures("_each_parser")
def test_broken_yaml_is_told_with_file_and_line(text: str) -> None:
    assert fault(text).startswith(("my.yaml:1: ", "my.yaml:2: "))


def test_a_doubled_key_names_the_first() -> None:
    found = fault("services:\n  - name: web\n    address: :80\n    name: db\n")
    assert found == "my.yaml:4: services[0].name: the same key as in line 2; remove one of them"


def test_a_doubled_service_names_both_places() -> None:
    found = fault(
        'services:\n  - {name: web, address: ":80"}\n  - {name: x, address: ":80"}\n  - {name: WEB, address: 80}\n'
    )
    assert found == "my.yaml:4: services[2]: 'WEB' has this address in my.yaml:2 already; remove one of them"


def test_one_name_may_stand_for_several_endpoints_and_protocols() -> None:
    entries = ('":80"', '":81"', '"1.2.3.4:80"', '":80", protocol: udp')
    text = "services:\n" + "".join(f"  - {{name: web, address: {entry}}}\n" for entry in entries)
    assert len(read_config(text, "my.yaml")) == 4


def test_a_second_document_is_an_error() -> None:
    assert fault("services: []\n---\nservices: []\n") == "my.yaml:2: a second document (---); a file must have one"


def test_what_is_wrong_at_an_anchor_is_told_once_and_makes_no_offer_of_its_aliases() -> None:
    text = 'services:\n  - {name: a, address: ":1", labels: &l {md.x: y}}\n  - {name: b, address: ":1", labels: *l}\n'
    assert fault(text).startswith("my.yaml:2: services[0].labels.'md.x': ")


def test_a_tag_is_an_error() -> None:
    assert "the tag '!env' is not supported" in fault("services:\n  - name: !env WEB\n    address: :80\n")


def test_a_key_that_is_no_text_is_an_error() -> None:
    assert "a key must be plain text" in faults("services:\n  - name: web\n    address: :80\n    ? [a]\n    : b\n")[0]


@pytest.mark.parametrize("bad", ["\x1b", "\x00", "\ud800", "\x7f"])
def test_a_character_that_yaml_refuses_is_told_escaped_with_its_line(bad: str) -> None:
    assert fault(f"services:\n  - name: {bad}\n") == (
        f"my.yaml:2: the character {bad!r} is not allowed; write it as an escape in double quotes"
    )


@pytest.mark.parametrize("entry", ["name: web", "address: :80"])
def test_an_entry_needs_name_and_address(entry: str) -> None:
    other = "address" if entry.startswith("name") else "name"
    assert fault(f"services:\n  - {entry}\n").startswith(f"my.yaml:2: services[0]: there is no {other!r}")


@pytest.mark.parametrize(
    "address", [":0", ":65536", "65536", "9" * 5000, "1.2.3.4:0", "localhost:80", "web", "1.2.3.4", "0.0.0.0:80"]
)
def test_a_bad_address_is_told_with_its_line(address: str) -> None:
    assert fault(f"services:\n  - name: web\n    address: {address}\n").startswith("my.yaml:3: services[0].address: ")


@pytest.mark.parametrize("name", [*sorted(RESERVED_NAMES), "_web", "xn--web", "a" * 63, "a\\x07b", ""])
def test_a_bad_name_is_told_with_its_line(name: str) -> None:
    assert fault(f'services:\n  - address: :80\n    name: "{name}"\n').startswith(
        "my.yaml:3: services[0].name: service name"
    )


def test_a_label_of_256_octets_is_told_with_its_line() -> None:
    head = "services:\n  - name: web\n    address: :80\n    labels:\n      env: "
    assert read_config(head + "v" * 251, "my.yaml")
    assert fault(head + "v" * 252).startswith("my.yaml:5: services[0].labels.env: label 'env': 256 octets")


def test_too_many_labels_and_too_long_ones_together_are_told() -> None:
    head = "services:\n  - name: web\n    address: :80\n    labels:\n"
    many = "".join(f"      k{i}: v\n" for i in range(65))
    assert read_config(head + many.replace("      k64: v\n", ""), "my.yaml")
    assert fault(head + many).startswith("my.yaml:4: services[0].labels: 65 labels; at most 64")
    long = "".join(f"      k{i}: {'v' * 240}\n" for i in range(6))
    assert fault(head + long).startswith("my.yaml:10: services[0].labels.k5: labels of 14")


def test_what_a_message_quotes_is_escaped_and_short() -> None:
    found = fault('services:\n  - name: web\n    address: :80\n    "\\e[2J\\n' + "x" * 9999 + '": 1\n')
    assert found.isprintable()
    assert len(found) < 600


# --- what costs too much -------------------------------------------------------------------------------------------


def test_a_recursive_alias_is_an_error() -> None:
    assert "the alias *a has no anchor &a that is complete before it" in fault("services: &a [*a]\n")


NESTS = ["[", "{a: ", "{? ", "- ", "? ", "[{a: "]
TOO_DEEP = f"more than {yaml_file.MAX_DEPTH} levels deep; a correct file has four"


@pytest.mark.parametrize("nest", NESTS)
@pytest.mark.parametrize("before", ["", "services: []\nlabels:\n  "])
@pytest.mark.usefixtures("_each_parser")
def test_a_deep_nest_is_an_error(nest: str, before: str) -> None:
    assert fault(before + nest * 100_000) == f"my.yaml:{before.count(chr(10)) + 1}: {TOO_DEEP}"


@pytest.fixture
def _hasty_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that looks far ahead, has a limit of its own, and gives no event of a text that passes it."""
    parse = yaml.parse

    def hasty(text: str, Loader: Any) -> Iterator[Any]:  # noqa: N803
        depth = 0
        with contextlib.suppress(yaml.scanner.ScannerError, yaml.parser.ParserError):
            for event in itertools.islice(parse(text, Loader=Loader), 500):
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                if depth > 40:
                    raise yaml.MarkedYAMLError(None, None, "in words of its own", event.start_mark)
        yield from parse(text, Loader=Loader)

    monkeypatch.setattr(yaml, "parse", hasty)
    monkeypatch.setattr(yaml_file, "_LOADER", yaml.BaseLoader)


@pytest.mark.parametrize("nest", NESTS)
@pytest.mark.usefixtures("_hasty_parser")
def test_a_deep_nest_is_told_in_our_words_where_the_parser_complains_first(nest: str) -> None:
    assert fault("services:\n  " + nest * 1000) == f"my.yaml:2: {TOO_DEEP}"


@pytest.mark.usefixtures("_each_parser")
def test_brackets_in_quotes_are_no_nest() -> None:
    found = fault(f"services: '{'[' * 2000}'\n 'x' ]\n")
    assert found.startswith("my.yaml:2: this is not YAML")


def test_aliases_cannot_make_a_short_file_endless() -> None:
    labels = ", ".join(f"k{i}: {'v' * 15_000}" for i in range(60))
    text = f'services:\n  - &a {{name: web, address: ":80", labels: {{{labels}}}}}\n' + "  - *a\n" * 900
    assert any("aliases (" in found for found in faults(text))


def test_a_billion_laughs_cost_nothing() -> None:
    text = "services:\n  - labels: &a {x: y}\n" + "".join(
        f"  - labels: &{new} {{<<: [{', '.join(['*' + old] * 9)}]}}\n"
        for old, new in zip("abcdefghi", "bcdefghij", strict=True)
    )
    begun = time.process_time()
    faults(text)
    assert time.process_time() - begun < 1


def test_a_file_of_10_mb_is_refused_unread() -> None:
    assert fault("#" * 10_000_000).startswith("my.yaml:1: 10000000 characters; at most")


def test_a_thousand_services_are_read_and_one_more_is_too_many() -> None:
    text = "services:\n" + "".join(f"  - {{name: s{i}, address: {i + 1}}}\n" for i in range(MAX_SERVICES))
    assert len(read_config(text, "my.yaml")) == MAX_SERVICES
    assert "at most 1000" in fault(text + "  - {name: one-more, address: 80}\n")


def test_after_a_hundred_faults_the_reading_ends_and_says_so() -> None:
    found = faults("services: [" + "x," * 500 + "]")
    assert len(found) == 101
    assert found[-1] == "my.yaml: 100 errors; the rest of the file was not checked"


# --- for any text --------------------------------------------------------------------------------------------------

good_labels = st.dictionaries(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029"), max_size=40),
    max_size=6,
).filter(
    lambda labels: (
        len({key.lower() for key in labels}) == len(labels)
        and not any(label_problem(key, value) for key, value in labels.items())
    )
)


@settings(max_examples=150, deadline=None)
@given(good_labels, st.sampled_from(["", "'", '"']), st.sampled_from([True, False, None]))
def test_labels_written_to_yaml_are_read_back_as_written(labels: dict[str, str], quote: str, flow: bool | None) -> None:
    # Not the line breaks of YAML 1.1: the dumper itself writes them raw, where a reader has to fold them.
    entry = {"name": "web", "address": ":80", "labels": labels}
    text = yaml.safe_dump({"services": [entry]}, default_style=quote, default_flow_style=flow, allow_unicode=bool(flow))
    (offer,) = read_config(text, "my.yaml")
    assert offer.labels == labels


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=70))
def test_a_name_is_read_exactly_when_the_grammar_takes_its_normal_form(name: str) -> None:
    text = json.dumps({"services": [{"name": name, "address": 80}]})
    if name.isascii() and name_problem(name) is None:
        assert read_config(text, "my.yaml")[0].name == name
    elif name.isascii():
        assert "services[0].name" in fault(text)


words = (
    r"services name address labels addresses : - { } [ ] , &a *a << ? | > ' # ! !!str % ... web :80 \ @ ` ~ é 1.2.3.4:5"
)
blanks = [
    "\n",
    "\n  ",
    "\n    ",
    "\n---\n",
    "\n- ",
    ": ",
    " ",
    "\t",
    '"',
    "\ufeff",
    "\x85",
    "\u2028",
    "\r",
    "\x1b",
    "\ud800",
]
pieces = st.sampled_from([*words.split(), *blanks])


@settings(max_examples=400, deadline=None)
@given(
    st.builds(
        "".join,
        st.tuples(st.sampled_from(["", "services:\n- ", "services: ["]), st.lists(pieces, max_size=40).map("".join)),
    )
)
@example("a: \ufeff")
@example("a: &a\n? *a\n: b")
@example("services:\n- name: web\n  address: " + "9" * 5000)
def test_any_text_gives_offers_or_a_config_error(text: str) -> None:
    try:
        assert all(isinstance(offer, Offer) for offer in read_config(text, "my.yaml"))
    except ConfigError as error:
        assert [problem for problem in error.problems if not problem.startswith("my.yaml:")] == []  # noqa: PT017


# --- what is published ---------------------------------------------------------------------------------------------


def schema() -> dict:  # type: ignore[type-arg]
    return json.loads((TOP / "docs" / "services.schema.json").read_text())


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_schema_has_the_keys_that_are_read() -> None:
    assert set(schema()["$defs"]["service"]["properties"]) == set(SERVICE_KEYS)


@pytest.mark.parametrize(
    "entry",
    [{}, {"name": "web"}, {"name": "ns", "address": 80}, {"name": "web", "address": 0}, {"name": "web", "address": "x"},
     {"name": "web", "address": 80, "label": {}}, {"name": "web", "address": 80, "labels": {"md.x": "1"}},
     {"name": "web", "address": 80, "labels": {"a=b": "1"}}, {"name": "web", "address": 80, "protocol": "sctp"},
     {"name": "web", "address": 80, "priority": 65536}, {"name": "web", "address": 80, "labels": {"a": []}}],
)  # fmt: skip
def test_what_the_schema_refuses_is_refused_by_the_reader_too(entry: dict[str, object]) -> None:
    document = {"services": [entry]}
    assert not jsonschema.Draft202012Validator(schema()).is_valid(document)
    assert faults(json.dumps(document))


def test_the_example_is_read_and_fits_the_schema_that_it_names() -> None:
    text = (TOP / "example-cfg.yaml").read_text()
    first = text.splitlines()[0]
    assert first == "# yaml-language-server: $schema=docs/services.schema.json"
    jsonschema.Draft202012Validator(schema()).validate(yaml.safe_load(text))
    offers = read_config(text, "example-cfg.yaml")
    assert [(offer.name, offer.address, offer.port) for offer in offers] == [
        ("frobotnik", None, 4711),
        ("web", None, 8080),
        ("kv", None, 2379),
        ("syslog", None, 514),
        ("foobar", "100.101.102.103", 42),
    ]
    assert offers[1].labels == {"env": "prod", "version": "1.10", "beta": "no"}
