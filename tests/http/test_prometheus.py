"""What Prometheus is told to scrape."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from docblocks import ROOT, table

from mddns.base.model import Endpoint, Service, replace
from mddns.http.messages import Request, Response
from mddns.http.prometheus import Known, answer

WEB = Service(
    name="web",
    labels={"env": "prod", "a-b": "1", "a.b": "2"},
    endpoint=Endpoint("100.64.0.2:8080"),
    host="bravo",
    owner="me@example.com",
    tags=("tag:a", "tag:b"),
    via="100.64.0.2:28004",
    network="tailscale",
    instance="bravo-8080",
)
SIX = replace(WEB, endpoint=Endpoint("[fd7a::3]:8080"), labels={"env": "dev"}, owner=None, tags=(), host=None)
SYSLOG = replace(WEB, name="syslog", endpoint=Endpoint("100.64.0.2:514"), protocol="udp", labels={}, remote=True)
KNOWN = Known("minidisc.", [WEB, SIX, SYSLOG], (), True)


def ask(*known: Known, **query: tuple[str, ...]) -> Response:
    return answer(Request("GET", "/sd/prometheus", query, {}, b"", "100.64.0.1", 1, True), known or [KNOWN])


def targets(**query: tuple[str, ...]) -> list[str]:
    return [target for group in json.loads(ask(**query).body) for target in group["targets"]]


def groups(*known: Known) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ask(*known).body)
    return found


def test_an_instance_is_a_target_group_with_labels() -> None:
    assert groups(Known("minidisc.", [WEB], (), True)) == [
        {
            "targets": ["100.64.0.2:8080"],
            "labels": {
                "__meta_minidisc_name": "web",
                "__meta_minidisc_instance": "bravo-8080",
                "__meta_minidisc_host": "bravo",
                "__meta_minidisc_owner": "me@example.com",
                "__meta_minidisc_tags": ",tag:a,tag:b,",
                "__meta_minidisc_protocol": "tcp",
                "__meta_minidisc_domain": "minidisc",
                "__meta_minidisc_network": "tailscale",
                "__meta_minidisc_priority": "10",
                "__meta_minidisc_weight": "10",
                "__meta_minidisc_remote": "false",
                "__meta_minidisc_label_env": "prod",
                "__meta_minidisc_label_a_b": "1",
            },
        }
    ]


def test_it_is_json_by_its_type() -> None:
    assert ask().content_type == "application/json"


def test_what_is_unknown_has_no_label() -> None:
    (group,) = groups(Known("minidisc.", [SIX], (), True))
    assert not {"__meta_minidisc_host", "__meta_minidisc_owner", "__meta_minidisc_tags"} & set(group["labels"])


def test_label_names_are_such_as_prometheus_takes() -> None:
    odd = replace(WEB, labels={'!"#$%&': "x", "0": "y", "ö": "z", "a\udcffb": "\udcff"})
    (group,) = groups(Known("minidisc.", [odd], (), True))
    assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in group["labels"])


def test_groups_come_in_the_same_order_however_they_were_learned() -> None:
    assert groups(Known("minidisc.", [SYSLOG, SIX, WEB], (), True)) == groups()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["100.64.0.2:514", "100.64.0.2:8080", "[fd7a::3]:8080"]),
        ({"name": ("WEB",)}, ["100.64.0.2:8080", "[fd7a::3]:8080"]),
        ({"name": ("web", "syslog")}, ["100.64.0.2:514", "100.64.0.2:8080", "[fd7a::3]:8080"]),
        ({"label": ("env=prod",)}, ["100.64.0.2:8080"]),
        ({"label": ("env=prod", "a-b=1")}, ["100.64.0.2:8080"]),
        ({"label": ("env=prod", "a-b=2")}, []),
        ({"name": ("syslog",), "label": ("env=prod",)}, []),
        ({"name": ("nothing",)}, []),
    ],
)
def test_names_and_labels_filter(query: dict[str, tuple[str, ...]], expected: list[str]) -> None:
    assert targets(**query) == expected


@pytest.mark.parametrize(
    "query", [{"nane": ("web",)}, {"label": ("env",)}, {"label": ("=x",)}, {"label": ("env=prod", "env=dev")}]
)
def test_a_filter_that_cannot_be_meant_is_400(query: dict[str, tuple[str, ...]]) -> None:
    assert ask(**query).status == 400


def test_what_there_is_is_told_though_somebody_is_silent() -> None:
    assert ask(KNOWN._replace(silent=("nas",))).status == 200


@pytest.mark.parametrize("query", [{}, {"name": ("web",)}])
def test_nothing_found_while_somebody_is_silent_is_503_so_that_prometheus_keeps_its_targets(
    query: dict[str, tuple[str, ...]],
) -> None:
    response = ask(Known("minidisc.", [], ("nas",), True), **query)
    assert (response.status, response.body) == (503, b"silent: nas\n")
    assert ask(Known("minidisc.", [SYSLOG], ("nas",), True), name=("web",)).status == 503


def test_an_empty_network_is_200() -> None:
    assert (ask(Known("minidisc.", [], (), True)).status, ask(Known("minidisc.", [], (), True)).body) == (200, b"[]")


def test_before_the_first_list_of_peers_it_is_503() -> None:
    assert ask(Known("minidisc.", [WEB], (), False)).status == 503


def test_all_domains_of_a_host_are_told_each_by_its_name() -> None:
    other = Known("example.", [SYSLOG], (), True)
    assert [
        group["labels"]["__meta_minidisc_domain"] for group in groups(Known("minidisc.", [WEB], (), True), other)
    ] == [
        "example",
        "minidisc",
    ]


def test_whoever_is_silent_under_any_domain_may_have_what_is_not_found() -> None:
    other = Known("example.", [], ("nas",), True)
    assert ask(Known("minidisc.", [WEB], (), True), other, name=("db",)).status == 503
    assert ask(Known("minidisc.", [WEB], (), True), other, name=("web",)).status == 200


def test_the_document_tells_of_every_label() -> None:
    rows = table((ROOT / "docs" / "http.md").read_text("utf-8"), "Prometheus finds services")
    told = {name for row in rows for name in row["label"].split(", ")}
    (group,) = groups(Known("minidisc.", [WEB], (), True))
    assert told == {re.sub("label_.*", "label_<key>", name) for name in group["labels"]}
