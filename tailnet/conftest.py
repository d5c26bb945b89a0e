"""The real tailnet that all tests share: alpha, bravo and charlie have mddns, delta has not."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from . import binaries, possible
from .net import RealTailnet

# Two domains for one network, so that both kinds of split DNS work at the same time; the third has no server.
SPLIT = {
    "minidisc": ["100.64.0.1"],
    "minidisc.internal": ["http://100.64.0.2:28004/dns-query", "http://100.64.0.3:28004/dns-query"],
    "dropped.test": ["100.64.0.1:5353"],
}


@pytest.fixture(scope="session")
def net() -> Iterator[RealTailnet]:
    reason = possible.why_not()
    if reason is None:
        try:
            binaries.find()
        except binaries.Missing as error:
            reason = str(error)
    if reason is not None:
        (pytest.fail if os.environ.get(possible.WANTED) == "1" else pytest.skip)(f"no real tailnet: {reason}")
    with RealTailnet(["alpha", "bravo", "charlie", "delta"], SPLIT) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def whole(net: RealTailnet) -> None:
    """Repairs the tailnet before each module, whatever state the previous one has left."""
    net.together()
