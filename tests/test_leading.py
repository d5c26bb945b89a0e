"""Who leads: a table, without a clock."""

from __future__ import annotations

from itertools import permutations

from mddns.leading import EARLIEST, MOST_AHEAD, leader
from mddns.model import Endpoint, Service

NOW = 1_800_000_000_000


def at(address: str, since: int | None, priority: int = 10, port: int = 80) -> Service:
    return Service("web", {}, Endpoint.of(address, port), (address,), priority=priority, since=since)


def leads(*services: Service, now: int | None = NOW) -> str:
    """The endpoint of the leader, in whatever order they are seen."""
    found = {str(one.endpoint) for order in permutations(services) if (one := leader(order, now))}
    assert len(found) == 1
    return found.pop()


def test_nobody_leads_nobody() -> None:
    assert leader((), NOW) is None


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
    """It would come last by its time alone; but all others may be doubtful for another reason."""
    assert leads(at("100.64.0.1", NOW + MOST_AHEAD + 1), at("100.64.0.2", NOW)) == "100.64.0.2:80"
    assert leads(at("100.64.0.9", NOW + MOST_AHEAD), at("100.64.0.1", NOW + MOST_AHEAD + 1)) == "100.64.0.9:80"
    assert leads(at("100.64.0.1", NOW + MOST_AHEAD + 1), at("100.64.0.2", None), at("100.64.0.3", 7)) != "100.64.0.1:80"


def test_whose_age_is_not_known_does_not_lead() -> None:
    assert leads(at("100.64.0.1", None), at("100.64.0.2", NOW)) == "100.64.0.2:80"


def test_priority_names_a_leader_whose_clock_is_wrong() -> None:
    assert leads(at("100.64.0.1", 5, priority=0), at("100.64.0.2", NOW)) == "100.64.0.1:80"
