"""What enters the directory, and who gets merged answers."""

from __future__ import annotations

import pytest
from played import ALPHA, BRAVO, peer

from mddns.base.model import Endpoint, Service, Snapshot, replace
from mddns.base.policy import Policy, who_may_ask

WEB = Service("web", {"env": "prod"}, Endpoint("100.64.0.1:80"), ("100.64.0.1",))


def test_services_at_a_peers_own_address_are_admitted() -> None:
    assert Policy().admit(WEB, ALPHA)


def test_remote_ones_are_admitted_unless_that_is_refused() -> None:
    remote = replace(WEB, remote=True)
    assert Policy().admit(remote, ALPHA)
    assert not Policy(remote=False).admit(remote, ALPHA)
    assert Policy(remote=False).admit(WEB, ALPHA)


@pytest.mark.parametrize(
    ("labels", "admitted"),
    [
        ({f"k{n:02}": "" for n in range(64)}, True),
        ({f"k{n:02}": "" for n in range(65)}, False),
        ({"k" * 20: "v" * 100}, True),
        ({f"k{n}": "v" * 250 for n in range(6)}, False),
        ({f"k{n}": "é" * 125 for n in range(5)}, True),
        ({f"k{n}": "é" * 126 for n in range(5)} | {"k": "vv" * 10}, False),
        ({f"k{n}": "\udcff" * 250 for n in range(5)}, True),
        ({f"k{n}": "v" * 256 for n in range(5)}, True),
        ({f"k{n}": "v" * 256 for n in range(4)} | {"k4": "v" * 257}, False),
    ],
    ids=["64", "65", "small", "1,500 octets", "1,270 octets of UTF-8", "1,301", "no UTF-8", "1,300", "1,301 of ASCII"],
)
def test_more_labels_than_one_may_offer_are_not_admitted(labels: dict[str, str], admitted: bool) -> None:
    assert Policy().admit(replace(WEB, labels=labels), ALPHA) is admitted


def test_members_and_this_host_may_ask_and_nobody_else() -> None:
    shared_in = peer("shared", "100.64.0.50", member=False)
    phone = peer("phone", "100.64.0.60", asked=False)
    allowed = who_may_ask(Snapshot(ALPHA, (BRAVO, shared_in, phone)))
    assert allowed == {*ALPHA.addresses, *BRAVO.addresses, "100.64.0.60"}
    assert who_may_ask(Snapshot(None, (BRAVO,))) == set(BRAVO.addresses)
