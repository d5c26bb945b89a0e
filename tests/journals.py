"""A host whose zone changes, for tests of the events and transfers that result."""

from __future__ import annotations

from hypothesis import strategies as st
from played import ALPHA, LOOKER_ON, Host


def host(count: int = 3) -> Host:
    made = Host(ALPHA)
    made.responder.allow(frozenset((LOOKER_ON,)))
    for port in range(1, count + 1):
        made.advertise("web", port, {"env": "prod"})
    return made


changes = st.lists(
    st.tuples(
        st.sampled_from(("web", "Web", "db", "café")),
        st.integers(1, 4),
        st.sampled_from(("tcp", "udp")),
        st.sampled_from((None, "100.64.0.9", "100.64.0.1")),
        st.sampled_from(({}, {"env": "prod"}, {"env": "dev", "x": "y"}, None)),
    ),
    max_size=25,
)
