"""What processes of a host tell each other: several services at once, so that nobody sees half of a change."""

from __future__ import annotations

from collections.abc import Iterable

from mddns.base.model import Endpoint, Service, replace
from mddns.base.names import Name
from mddns.base.validation import MAX_SERVICES
from mddns.codec.update import read, updates

APEX = Name.parse("minidisc")


def service(port: int, labels: dict[str, str] | None = None) -> Service:
    endpoint = Endpoint.of("100.64.0.1", port)
    return Service("web", labels or {}, endpoint, ("100.64.0.1",), since=1, instance=f"alpha-{port}")


def told(messages: Iterable[bytes]) -> list[tuple[str, bool]]:
    return [(each.instance, each.told is not None) for wire in messages for each in read(wire, APEX)]


def test_what_is_added_and_withdrawn_together_is_one_message() -> None:
    (message,) = updates([service(80), service(81)], [service(82)], APEX)
    assert told([message]) == [("alpha-82", False), ("alpha-80", True), ("alpha-81", True)]


def test_nothing_is_no_message() -> None:
    assert list(updates([], [], APEX)) == []


def test_what_one_message_cannot_hold_is_told_in_several() -> None:
    labels = {f"k{number}": "x" * 200 for number in range(6)}
    added = [service(port, labels) for port in range(1, MAX_SERVICES + 1)]
    messages = list(updates(added, [replace(each, instance=f"old-{each.endpoint.port}") for each in added], APEX))
    assert len(messages) > 1
    assert max(map(len, messages)) <= 65_535
    assert sorted(told(messages)) == sorted(
        [(f"alpha-{port}", True) for port in range(1, MAX_SERVICES + 1)]
        + [(f"old-{port}", False) for port in range(1, MAX_SERVICES + 1)]
    )


def test_aliases_and_the_reason_for_holding_back_are_told() -> None:
    (message,) = updates([replace(service(80), srv=("etcd-client",), held="tcp: refused")], [], APEX)
    (change,) = read(message, APEX)
    assert change.told is not None
    assert (change.told.attributes.srv, change.told.attributes.held) == (("etcd-client",), "tcp: refused")
