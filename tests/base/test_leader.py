"""Who leads: a table, without a clock."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from mddns.base.leader import EARLIEST, leader
from mddns.base.model import Endpoint, Service

NOW = 1_800_000_000_000
HOUR = 3_600_000
MOST_AHEAD = 60_000  # ms by which another's clock may be ahead of one's own, before one believes that it is wrong


def at(address: str, since: int | None, priority: int = 10, port: int = 80) -> Service:
    return Service("web", {}, Endpoint.of(address, port), (address,), priority=priority, since=since)


def leads(*services: Service) -> str:
    """The endpoint of the leader, in whatever order they are seen."""
    found = {str(one.endpoint) for order in permutations(services) if (one := leader(order))}
    assert len(found) == 1
    return found.pop()


def test_nobody_leads_nobody() -> None:
    assert leader(()) is None


def test_who_came_up_first_leads() -> None:
    assert leads(at("100.64.0.2", NOW - 5), at("100.64.0.1", NOW)) == "100.64.0.2:80"


def test_a_lower_priority_leads_before_age() -> None:
    assert leads(at("100.64.0.2", NOW - 5), at("100.64.0.1", NOW, priority=0)) == "100.64.0.1:80"


def test_of_equal_age_the_first_endpoint_leads() -> None:
    assert leads(at("100.64.0.2", NOW), at("100.64.0.1", NOW, port=81), at("100.64.0.1", NOW)) == "100.64.0.1:80"


def test_a_machine_that_booted_in_1970_does_not_lead() -> None:
    assert leads(at("100.64.0.1", 5), at("100.64.0.2", NOW)) == "100.64.0.2:80"
    assert leads(at("100.64.0.1", EARLIEST - 1), at("100.64.0.2", NOW)) == "100.64.0.2:80"
    assert leads(at("100.64.0.1", EARLIEST), at("100.64.0.2", NOW)) == "100.64.0.1:80"


def test_a_clock_that_is_ahead_does_not_lead() -> None:
    assert leads(at("100.64.0.1", NOW + HOUR), at("100.64.0.2", NOW)) == "100.64.0.2:80"
    assert leads(at("100.64.0.1", NOW + HOUR), at("100.64.0.2", NOW), at("100.64.0.3", 5)) == "100.64.0.2:80"


def test_among_wrong_clocks_one_that_is_ahead_leads_before_those_of_1970() -> None:
    """Whoever has such a clock itself takes it for right; all others would have to see another leader."""
    assert leads(at("100.64.0.9", NOW + HOUR), at("100.64.0.1", 5), at("100.64.0.2", None)) == "100.64.0.9:80"
    assert leads(at("100.64.0.9", NOW + HOUR), at("100.64.0.1", NOW + HOUR + 1)) == "100.64.0.9:80"


def test_whose_age_is_not_known_does_not_lead() -> None:
    assert leads(at("100.64.0.1", None), at("100.64.0.2", NOW)) == "100.64.0.2:80"


def test_priority_names_a_leader_whose_clock_is_wrong() -> None:
    assert leads(at("100.64.0.1", 5, priority=0), at("100.64.0.2", NOW)) == "100.64.0.1:80"


_MOMENTS = st.integers(NOW - 2 * HOUR, NOW + 2 * HOUR)
_SINCE = st.one_of(st.none(), st.integers(0, HOUR), st.just(EARLIEST - 1), st.just(EARLIEST), _MOMENTS)
_SERVICES = st.lists(
    st.builds(at, st.sampled_from(["100.64.0.1", "100.64.0.2", "100.64.0.3"]), _SINCE, st.integers(0, 2)), min_size=1
)


@given(_SERVICES, _MOMENTS)
def test_no_reader_sees_a_leader_with_a_doubtful_time_where_there_is_one_without(
    services: list[Service], now: int
) -> None:
    """The rule by the reader's clock (before 2024, or more than 60 s ahead, comes last) holds for all at once."""

    def doubtful(service: Service) -> bool:
        return service.since is None or not EARLIEST <= service.since <= now + MOST_AHEAD

    found = leader(services)
    assert found is not None
    like = [each for each in services if each.priority == min(each.priority for each in services)]
    assert found in like
    if good := [each for each in like if not doubtful(each)]:
        assert found == min(good, key=lambda each: (each.since, str(each.endpoint)))
