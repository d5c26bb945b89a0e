"""RFC 1995's worked example (section 7), the zone JAIN.AD.JP in three states: it is read, and it is written.

The RFC shows it as records in their sections. dnspython makes and reads the octets, so that the two ends are not both
ours.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import dns.flags
import dns.message
import dns.opcode
import dns.rdatatype
import dns.rrset
import pytest

from mddns.base.names import Name
from mddns.dns.message import NS, SOA, Question
from mddns.dns.writer import RR
from mddns.zone.apex import Apex
from mddns.zone.journal import Step
from mddns.zone.secondary import Progress, Secondary
from mddns.zone.transfer import differences_out

ZONE = Name.parse("JAIN.AD.JP.")
SERVED = "JAIN.AD.JP. NS NS.JAIN.AD.JP.", "NS.JAIN.AD.JP. A 133.69.136.1"
NEZU = "NEZU.JAIN.AD.JP. A 133.69.136.5"
BB_4, BB_3, BB_2 = (f"JAIN-BB.JAIN.AD.JP. A {address}" for address in ("133.69.136.4", "133.69.136.3", "192.41.197.2"))


def soa(serial: int) -> str:
    return f"JAIN.AD.JP. SOA NS.JAIN.AD.JP. mohta.jain.ad.jp. {serial} 600 600 3600000 604800"


FIRST = *SERVED, NEZU
LAST = *SERVED, BB_3, BB_2
WHOLE = soa(3), *LAST, soa(3)
STEPS = (
    soa(3),
    *(soa(1), NEZU, soa(2), BB_4, BB_2),
    *(soa(2), BB_4, soa(3), BB_3),
    soa(3),
)
CONDENSED = soa(3), soa(1), NEZU, soa(3), BB_3, BB_2, soa(3)


def answer(query: bytes, *records: str) -> bytes:
    """The RFC's answer: the question, and these records in this order."""
    message = dns.message.make_response(dns.message.from_wire(query, xfr=True))
    for record in records:
        owner, rtype, rdata = record.split(" ", 2)
        message.answer.append(dns.rrset.from_text(owner, 600, "IN", rtype, rdata))
    return message.to_wire()


def standing(copy: Secondary) -> set[tuple[bytes, int, bytes]]:
    return {(*key, folded) for key, rdatas in copy.records.items() for folded in rdatas}


def written(record: str) -> RR:
    owner, rtype, rdata = record.split(" ", 2)
    octets = dns.rrset.from_text(owner, 0, "IN", rtype, rdata)[0].to_wire()
    assert octets is not None
    return Name.parse(owner).wire, dns.rdatatype.from_text(rtype), (octets, None)


def in_octets(record: str) -> tuple[bytes, int, bytes]:
    owner, rtype, (octets, _) = written(record)
    return owner.lower(), rtype, octets.lower() if rtype == NS else octets


def first() -> Secondary:
    """A copy of the first state."""
    copy = Secondary(ZONE, lambda key: True)
    assert copy.feed(answer(copy.ask(1), soa(1), *FIRST, soa(1))) is Progress.CHANGED
    assert standing(copy) == set(map(in_octets, FIRST))
    return copy


def test_the_query_has_the_serial_in_its_authority_section() -> None:
    query = dns.message.from_wire(first().ask(7))
    assert query.opcode() == dns.opcode.QUERY
    assert not query.flags & dns.flags.QR
    assert [each.to_text() for each in query.question] == ["JAIN.AD.JP. IN IXFR"]
    assert (query.answer, query.additional) == ([], [])
    (authority,) = query.authority
    assert (authority.name.to_text(), authority.rdtype, authority[0].serial) == ("JAIN.AD.JP.", SOA, 1)


@pytest.mark.parametrize("records", [WHOLE, STEPS, CONDENSED], ids=["whole", "steps", "condensed"])
def test_each_answer_leads_to_the_last_state(records: tuple[str, ...]) -> None:
    copy = first()
    assert copy.feed(answer(copy.ask(7), *records)) is Progress.CHANGED
    assert standing(copy) == set(map(in_octets, LAST))
    assert copy.serial == 3


def test_the_serial_alone_means_to_ask_otherwise() -> None:
    """What a datagram is answered with that is too small (RFC 1995 2)."""
    copy = first()
    assert copy.feed(answer(copy.ask(7), soa(3))) is Progress.ASK_WHOLE
    assert standing(copy) == set(map(in_octets, FIRST))


def test_steps_are_written_as_they_are_shown() -> None:
    def step(before: int, after: int, deleted: tuple[str, ...], added: tuple[str, ...]) -> Step:
        gone, come = tuple(map(written, deleted)), tuple(map(written, added))
        return Step(before, written(soa(before)), written(soa(after)), gone, come, frozenset())

    steps = [step(1, 2, (NEZU,), (BB_4, BB_2)), step(2, 3, (BB_4,), (BB_3,))]
    question = Question(ZONE.wire, ZONE.key, 251, 1)
    apex = cast("Apex", SimpleNamespace(soa_record=written(soa(3))))
    (wire,) = differences_out(question, 7, apex, steps)
    message: Any = dns.message.from_wire(wire, xfr=True, one_rr_per_rrset=True)
    assert [each.to_text() for each in message.question] == ["JAIN.AD.JP. IN IXFR"]
    assert (message.authority, message.additional) == ([], [])
    assert [f"{each.name} {dns.rdatatype.to_text(each.rdtype)} {each[0]}" for each in message.answer] == list(STEPS)
