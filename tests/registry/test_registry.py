"""What one process offers: kept, changed, withdrawn, and turned into services of its node."""

from __future__ import annotations

import pytest
from played import ALPHA, SINCE, peer

from mddns.base.errors import InvalidService
from mddns.base.model import Peer, Service, replace
from mddns.base.offer import make
from mddns.base.validation import MAX_SERVICES
from mddns.registry.registry import Registry
from mddns.zone.apex import next_serial


def registry(me: Peer = ALPHA) -> Registry:
    return Registry(me, False, SINCE)


def test_a_service_is_told_with_our_nodes_address_name_and_owner() -> None:
    ours = registry()
    ours.advertise(make(8080, "web", {"env": "prod"}, priority=1, weight=2), SINCE + 7)
    assert ours.services() == [
        Service(
            name="web",
            labels={"env": "prod"},
            endpoint=ours.services()[0].endpoint,
            addresses=("100.64.0.1",),
            priority=1,
            weight=2,
            host="alpha",
            owner="ada@example.com",
            via="100.64.0.1:28004",
            since=SINCE + 7,
            instance="alpha-8080",
        )
    ]
    assert ours.services()[0].endpoint == "100.64.0.1:8080"


def test_a_remote_service_is_told_at_its_own_address_alone() -> None:
    ours = registry()
    ours.advertise(make(5432, "db", address="100.64.0.9"), SINCE)
    (service,) = ours.services()
    assert (service.endpoint, service.addresses, service.remote) == ("100.64.0.9:5432", ("100.64.0.9",), True)
    assert service.instance == "100-64-0-9-5432"


def test_ipv6_is_told_only_where_the_service_was_found_to_answer_there() -> None:
    ours = registry()
    web = ours.advertise(make(80, "web"), SINCE)
    assert ours.services()[0].addresses == ("100.64.0.1",)
    ours.answers_over_six(web, True, SINCE)
    assert ours.services()[0].addresses == ("100.64.0.1", "fd7a::1")
    ours.answers_over_six(web, False, SINCE)
    assert ours.services()[0].addresses == ("100.64.0.1",)


def test_a_node_without_ipv4_tells_ipv6() -> None:
    ours = registry(peer("six", "fd7a::6"))
    ours.advertise(make(80, "web"), SINCE)
    assert (ours.services()[0].endpoint, ours.services()[0].addresses) == ("[fd7a::6]:80", ("fd7a::6",))


def test_addresses_that_were_given_are_told_as_they_are() -> None:
    ours = registry()
    ours.advertise(make(80, "web", addresses=["fd7a::1", "100.64.0.1", "100.64.0.77"]), SINCE)
    assert ours.services()[0].addresses == ("100.64.0.1", "100.64.0.77", "fd7a::1")


def test_the_same_endpoint_again_changes_the_service_in_place_and_keeps_its_age() -> None:
    ours = registry()
    first = ours.advertise(make(80, "web", {"v": "1"}), SINCE)
    assert ours.advertise(make(80, "WEB", {"v": "2"}), SINCE + 99) is first
    (service,) = ours.services()
    assert (service.name, service.labels, service.since) == ("WEB", {"v": "2"}, SINCE)


@pytest.mark.parametrize(
    "other", [make(81, "web"), make(80, "db"), make(80, "web", protocol="udp"), make(80, "web", address="100.64.0.9")]
)
def test_another_port_name_protocol_or_address_is_another_service(other: object) -> None:
    ours = registry()
    ours.advertise(make(80, "web"), SINCE)
    ours.advertise(other, SINCE)  # type: ignore[arg-type]
    assert len(ours.services()) == 2


def test_our_own_address_spelled_out_is_the_same_service() -> None:
    ours = registry()
    ours.advertise(make(80, "web"), SINCE)
    ours.advertise(make(80, "web", address="100.64.0.1"), SINCE)
    assert len(ours.services()) == 1


def test_when_our_node_moves_onto_an_offered_address_there_are_no_two_of_one_service() -> None:
    """Two records that say the same would stand in every answer."""
    ours = registry()
    ours.advertise(make(80, "web"), SINCE)
    ours.advertise(make(80, "web", address="100.64.0.9"), SINCE)
    ours.moved(peer("alpha", "100.64.0.9"), False, SINCE)
    assert [service.endpoint for service in ours.services()] == ["100.64.0.9:80"]


def test_labels_change_in_place() -> None:
    ours = registry()
    web = ours.advertise(make(80, "web", {"v": "1"}), SINCE)
    ours.relabel(web, {"v": "2"}, SINCE + 5)
    assert (ours.services()[0].labels, ours.services()[0].since) == ({"v": "2"}, SINCE)
    with pytest.raises(InvalidService):
        ours.relabel(web, {"md.since": "1"}, SINCE)
    assert ours.services()[0].labels == {"v": "2"}


def test_what_is_withdrawn_is_gone_and_cannot_be_changed() -> None:
    ours = registry()
    web = ours.advertise(make(80, "web"), SINCE)
    assert ours.withdraw(web, SINCE) is True
    assert ours.services() == []
    assert ours.withdraw(web, SINCE) is False
    with pytest.raises(KeyError, match="web on port 80"):
        ours.relabel(web, {}, SINCE)


def test_a_withdrawn_handle_does_not_withdraw_its_successor() -> None:
    ours = registry()
    old = ours.advertise(make(80, "web"), SINCE)
    ours.withdraw(old, SINCE)
    new = ours.advertise(make(80, "web"), SINCE + 1)
    assert ours.withdraw(old, SINCE) is False
    with pytest.raises(KeyError):
        ours.relabel(old, {}, SINCE)
    ours.answers_over_six(old, True, SINCE)
    assert ours.services()[0].addresses == ("100.64.0.1",)
    assert ours.withdraw(new, SINCE)


def test_unlist_takes_all_of_our_own_on_a_port_and_no_remote_one() -> None:
    ours = registry()
    for name in ("web", "metrics"):
        ours.advertise(make(80, name), SINCE)
    ours.advertise(make(80, "db", address="100.64.0.9"), SINCE)
    assert len(ours.unlist(80, SINCE)) == 2
    assert [service.name for service in ours.services()] == ["db"]
    with pytest.raises(KeyError, match="port 80"):
        ours.unlist(80, SINCE)


def test_a_host_offers_1000_services_and_may_still_change_them() -> None:
    ours = registry()
    for port in range(1, MAX_SERVICES + 1):
        ours.advertise(make(port, "web"), SINCE)
    with pytest.raises(InvalidService, match="1000"):
        ours.advertise(make(MAX_SERVICES + 1, "web"), SINCE)
    ours.advertise(make(1, "web", {"v": "2"}), SINCE)
    assert len(ours.services()) == MAX_SERVICES == 1000


def test_only_what_changes_something_moves_the_serial() -> None:
    ours = registry()
    serials = [ours.serial]

    def moved() -> bool:
        serials.append(ours.serial)
        return serials[-1] != serials[-2]

    web = ours.advertise(make(80, "web"), SINCE)
    assert moved()
    ours.advertise(make(80, "web"), SINCE)
    assert not moved()
    ours.relabel(web, {"a": "b"}, SINCE)
    assert moved()
    ours.relabel(web, {"a": "b"}, SINCE)
    assert not moved()
    ours.answers_over_six(web, False, SINCE)
    assert not moved()
    ours.answers_over_six(web, True, SINCE)
    assert moved()
    ours.moved(ALPHA, False, SINCE)
    assert not moved()
    ours.moved(ALPHA, True, SINCE)
    assert moved()
    assert ours.services()[0].instance == "100-64-0-1-80"
    ours.moved(replace(ALPHA, addresses=("100.64.0.5",)), True, SINCE)
    assert moved()
    ours.withdraw(web, SINCE)
    assert moved()
    ours.withdraw(web, SINCE)
    assert not moved()


@pytest.mark.parametrize(
    ("last", "unix_ms", "following"),
    [
        (None, 1_800_000_000_123, 1_800_000_000_12 % 2**32),
        (5, 50, 6),
        (5, 60, 6),
        (5, 71, 7),
        (5, 10_000, 1000),
        (1000, 10, 1001),
        (2**32 - 1, 0, 0),
        (2**32 - 1, 10, 1),
        (2**32 - 2, 10 * 2**32, 2**32 - 1 + 1 - 2**32),
        (0, 10 * 2**31, 1),  # just not ahead any more (RFC 1982)
        (0, 10 * (2**31 - 1), 2**31 - 1),
    ],
)
def test_a_serial_is_the_time_or_the_last_one_and_1_whichever_is_later(
    last: int | None, unix_ms: int, following: int
) -> None:
    assert next_serial(last, unix_ms) == following


def test_a_service_with_a_check_is_held_back_until_it_passes_and_is_up_since_then() -> None:
    ours = registry()
    web = ours.advertise(make(8080, "web", check="tcp"), SINCE)
    assert (ours.services(), [each.held for each in ours.held_back()]) == ([], ["not checked yet"])
    serial = ours.serial
    ours.checked(web, "", SINCE + 5000)
    assert [(each.since, each.held) for each in ours.services()] == [(SINCE + 5000, "")]
    assert (ours.held_back(), ours.serial != serial) == ([], True)


def test_a_service_that_fails_its_check_is_held_back_with_the_reason() -> None:
    ours = registry()
    web = ours.advertise(make(8080, "web", check="tcp"), SINCE)
    ours.checked(web, "", SINCE)
    ours.checked(web, "tcp: refused", SINCE)
    assert (ours.services(), [each.held for each in ours.held_back()]) == ([], ["tcp: refused"])


def test_a_check_of_what_is_withdrawn_changes_nothing() -> None:
    ours = registry()
    web = ours.advertise(make(8080, "web", check="tcp"), SINCE)
    ours.withdraw(web, SINCE)
    ours.checked(web, "", SINCE)
    assert (ours.services(), ours.held_back()) == ([], [])


def test_other_labels_leave_a_checked_service_as_it_is() -> None:
    ours = registry()
    web = ours.advertise(make(8080, "web", check="tcp"), SINCE)
    ours.checked(web, "", SINCE + 1)
    ours.advertise(make(8080, "web", {"env": "prod"}, check="tcp"), SINCE + 2)
    assert [(each.labels, each.since) for each in ours.services()] == [({"env": "prod"}, SINCE + 1)]


def test_without_its_check_a_service_is_offered_and_with_another_it_is_checked_anew() -> None:
    ours = registry()
    ours.advertise(make(8080, "web", check="tcp"), SINCE)
    ours.advertise(make(8080, "web"), SINCE)
    assert len(ours.services()) == 1
    ours.replace([make(8080, "web", check="/healthz")], SINCE)
    assert ours.services() == []


UNREACHABLE = ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.1.1", "fe80::1", "255.255.255.255"]


@pytest.mark.parametrize("address", UNREACHABLE)
def test_an_address_that_no_other_machine_can_use_is_refused_with_the_remedy(address: str) -> None:
    for offer in (make(5432, "db", address=address, where="my.yaml:3"), make(5432, "db", addresses=[address])):
        ours = registry()
        for advertise in (lambda: ours.advertise(offer, SINCE), lambda: ours.replace([offer], SINCE)):  # noqa: B023
            with pytest.raises(InvalidService, match=r"no other machine can use .* ':5432'") as caught:
                advertise()
            assert str(caught.value).startswith(offer.where)
        assert ours.services() == []


def test_on_a_network_of_loopback_addresses_loopback_may_be_offered_and_nothing_else_of_the_kind() -> None:
    ours = registry(peer("alpha", "127.0.0.1"))
    ours.advertise(make(5432, "db", address="127.0.0.2"), SINCE)
    assert [service.endpoint for service in ours.services()] == ["127.0.0.2:5432"]
    with pytest.raises(InvalidService, match="link-local"):
        ours.advertise(make(5432, "db", address="169.254.0.1"), SINCE)
