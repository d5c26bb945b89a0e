"""What a file that was read again changes, and when it is read: without a file, a socket or a clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from played import ALPHA, SINCE

from mddns import sync
from mddns.base.errors import InvalidService
from mddns.base.model import Service
from mddns.base.names import Name
from mddns.base.offer import Offer, make
from mddns.base.validation import MAX_SERVICES
from mddns.cli.parts.reload import Reloader
from mddns.registry.file_changes import LONGEST, LOOK_EVERY, REST, Settling, difference
from mddns.registry.registry import Registry

LATER = SINCE + 60_000


def offers(*made: Offer) -> dict[Any, Offer]:
    return {each.key(): each for each in made}


def web(port: int = 80, **more: Any) -> Offer:
    return make(port, more.pop("name", "web"), more.pop("labels", {}), **more)


# --- the difference ---------------------------------------------------------------------------------------------------


def test_equal_files_differ_in_nothing() -> None:
    assert not difference(offers(web(80), web(81)), offers(web(81), web(80)))


def test_a_service_that_moved_within_its_file_is_the_same() -> None:
    assert not difference(offers(web(where="a.yaml:2")), offers(web(where="a.yaml:9")))


@pytest.mark.parametrize(
    "after",
    [
        web(labels={"env": "dev"}),
        web(priority=1),
        web(weight=1),
        web(addresses=["100.64.0.1"]),
        web(name="WEB"),
    ],
    ids=["labels", "priority", "weight", "addresses", "case of the name"],
)
def test_another_word_on_the_same_endpoint_is_a_change(after: Offer) -> None:
    change = difference(offers(web()), offers(after))
    assert list(change.changed.values()) == [(web(), after)]
    assert not change.added
    assert not change.withdrawn


@pytest.mark.parametrize(
    "after",
    [web(81), web(name="db"), web(protocol="udp"), web(address="100.64.0.9")],
    ids=["port", "name", "protocol", "address"],
)
def test_another_name_endpoint_or_protocol_is_another_service(after: Offer) -> None:
    change = difference(offers(web()), offers(after))
    assert list(change.added.values()) == [after]
    assert list(change.withdrawn.values()) == [web()]
    assert not change.changed


# --- applied to a registry --------------------------------------------------------------------------------------------


@pytest.fixture
def registry() -> Registry:
    return Registry(ALPHA, False, SINCE)


def standing(registry: Registry) -> dict[str, Service]:
    return {f"{each.name}:{each.endpoint.port}": each for each in registry.services()}


def test_what_stays_is_not_touched(registry: Registry) -> None:
    registry.replace([web(80), web(81)], SINCE)
    kept, serial = standing(registry)["web:80"], registry.serial
    registry.replace([web(80), web(82)], LATER)
    assert standing(registry)["web:80"] == kept
    assert registry.serial != serial
    assert standing(registry)["web:82"].since == LATER


def test_what_changes_keeps_its_age(registry: Registry) -> None:
    registry.replace([web()], SINCE)
    registry.replace([web(labels={"env": "dev"})], LATER)
    (service,) = registry.services()
    assert (service.labels, service.since) == ({"env": "dev"}, SINCE)


def test_nothing_new_moves_no_serial(registry: Registry) -> None:
    registry.replace([web()], SINCE)
    serial = registry.serial
    assert not registry.replace([web(where="elsewhere:1")], LATER)
    assert registry.serial == serial


def test_a_handle_of_what_stays_still_works(registry: Registry) -> None:
    registry.replace([web(80), web(81)], SINCE)
    stays, goes = registry.registrations()
    registry.replace([web(80)], LATER)
    registry.relabel(stays, {"a": "b"}, LATER)
    with pytest.raises(KeyError):
        registry.relabel(goes, {"a": "b"}, LATER)


def test_a_port_and_our_own_address_with_it_are_one_endpoint(registry: Registry) -> None:
    registry.replace([web()], SINCE)
    registry.replace([web(address=ALPHA.addresses[0])], LATER)
    (service,) = registry.services()
    assert service.since == SINCE


def test_two_at_one_endpoint_are_refused_and_change_nothing(registry: Registry) -> None:
    registry.replace([web(82)], SINCE)
    twice = [web(where="a.yaml:2"), web(name="Web", address=ALPHA.addresses[0], where="a.yaml:3")]
    with pytest.raises(InvalidService, match=r"a\.yaml:3: 'Web' has the same address as that of a\.yaml:2"):
        registry.replace(twice, LATER)
    assert set(standing(registry)) == {"web:82"}


def test_all_services_of_a_host_may_be_replaced_at_once(registry: Registry) -> None:
    registry.replace([web(port) for port in range(1, MAX_SERVICES + 1)], SINCE)
    registry.replace([web(port) for port in range(2001, 2001 + MAX_SERVICES)], LATER)
    assert len(registry.services()) == MAX_SERVICES
    with pytest.raises(InvalidService, match="1001 services"):
        registry.replace([web(port) for port in range(1, MAX_SERVICES + 2)], LATER)


# --- when a file is read ----------------------------------------------------------------------------------------------


def test_a_file_that_stays_is_never_due() -> None:
    settling = Settling("a")
    assert not any(settling.due("a", now) for now in range(100))
    assert settling.pause == LOOK_EVERY


def test_a_changed_file_is_due_when_it_has_come_to_rest() -> None:
    settling = Settling("a")
    assert not settling.due("b", 10.0)
    assert settling.pause < REST
    assert not settling.due("c", 10.0 + REST)
    assert settling.due("c", 10.0 + 2 * REST)


def test_a_file_that_never_rests_is_read_all_the_same() -> None:
    settling = Settling(-1)
    when = [step * REST / 2 for step in range(100)]
    first = next(now for step, now in enumerate(when) if settling.due(step, now))
    assert LONGEST <= first <= LONGEST + REST


def test_what_was_read_is_not_due_again_even_where_it_was_wrong() -> None:
    settling = Settling("a")
    settling.due("b", 1.0)
    settling.taken("b")
    assert not settling.due("b", 9.0)
    assert settling.pause == LOOK_EVERY


def test_a_change_that_is_undone_before_it_rests_is_none() -> None:
    settling = Settling("a")
    settling.due("b", 1.0)
    assert not settling.due("a", 1.1)
    assert not settling.due("a", 9.0)


# --- what is said of it -----------------------------------------------------------------------------------------------


def test_the_faults_of_a_file_are_said_once_and_again_to_who_asks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("services: [{name: ns}]")
    reloader = Reloader(str(path), Name.parse("minidisc"), cast(sync.Registry, Registry(ALPHA, False, SINCE)), ())
    reloader.reload(asked=False)
    first = capsys.readouterr().err
    assert len(first.splitlines()) == 3  # two faults, and what is done about them
    reloader.reload(asked=False)
    assert capsys.readouterr().err == ""
    reloader.reload(asked=True)
    assert capsys.readouterr().err == first
    path.write_text("services: [{name: web}]")
    reloader.reload(asked=False)
    assert "no 'address'" in capsys.readouterr().err
