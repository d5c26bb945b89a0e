"""What docs/protocol.md says is so: its zone, its example messages to the octet, its tables of numbers.

The example messages are questions to the node `alpha` of the document's own example network. dnspython
decodes them; `PYTHONPATH=tests python tests/docs/test_protocol.py` writes responses and decoded text anew, to
be read before they are believed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
from collections.abc import Mapping, MutableSequence
from typing import Any, Final, NamedTuple

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.update
import dns.zone
import pytest
from docblocks import ROOT, Block, blocks, table

from mddns.base import validation
from mddns.base.model import DEFAULT_PORT, DEFAULT_PRIORITY, DEFAULT_WEIGHT, Peer, Service, Snapshot
from mddns.base.names import MAX_LABEL, MAX_NAME, Name
from mddns.base.offer import make
from mddns.base.policy import MAX_FROM_PEER, Policy, who_may_ask
from mddns.codec import answer as answers
from mddns.codec import instance_records as instance
from mddns.directory import peer_memory
from mddns.directory.directory import Directory
from mddns.directory.silence_text import read_sentence, sentence
from mddns.dns import dso_client, writer
from mddns.dns import message as wire
from mddns.dns.writer import Rdata, pack_query
from mddns.host import domain
from mddns.http import connection
from mddns.lookup import datagrams, fanout, patience
from mddns.networks import follower
from mddns.registry.registry import Registry
from mddns.responder import push_subscriptions, responder
from mddns.responder.reaction import Messages
from mddns.responder.responder import Ask, Responder
from mddns.server import dns_connection, push_sessions
from mddns.system import connection_limits
from mddns.watching import host_state, mirrors_by_apex, own_holder, polling, push_client, session_schedule
from mddns.zone import apex, journal, transfer, zone

DOC: Final = ROOT / "docs" / "protocol.md"
VECTORS: Final = ROOT / "docs" / "protocol-vectors.json"
TEXT: Final = DOC.read_text("utf-8")
BLOCKS: Final = blocks(TEXT)
APEX: Final = Name.parse("minidisc.")


class Example(NamedTuple):
    """A query of the document, its response, and both as text. Each is a block."""

    query: Block
    query_text: Block
    response: Block
    response_text: Block


def examples(found: list[Block]) -> list[Example]:
    """The example messages, in order."""
    kinds = ("hex", "query"), ("text", "query"), ("hex", "response"), ("text", "response")
    picked = [block for block in found if block.info[:2] in kinds]
    groups = [picked[at : at + 4] for at in range(0, len(picked), 4)]
    for group in groups:
        assert tuple(block.info[:2] for block in group) == kinds, f"line {group[0].line}: not query and response"
        assert len({block.heading for block in group}) == 1, f"line {group[0].line}: a heading in between"
    return [Example(*group) for group in groups]


EXAMPLES: Final = examples(BLOCKS)
NETWORK: Final[dict[str, Any]] = json.loads(next(b.text for b in BLOCKS if b.info[:2] == ("json", "network")))


def unmixed(_: MutableSequence[Rdata]) -> None:
    """In place of random order."""


def peers() -> dict[str, Peer]:
    """The example network's nodes."""
    return {each["name"]: Peer(each["name"], tuple(each["addresses"])) for each in NETWORK["nodes"]}


def registry_of(name: str) -> Registry:
    """What one of them offers."""
    now = NETWORK["unixTime"]
    registry = Registry(peers()[name], False, now)
    for service in next(each["services"] for each in NETWORK["nodes"] if each["name"] == name):
        given = {key: service[key] for key in ("labels", "address", "protocol") if key in service}
        registration = registry.advertise(make(service["port"], service["name"], **given), now)
        registry.answers_over_six(registration, service.get("ipv6", False), now)
    return registry


def alpha(state: str) -> Responder:
    """The node that is asked. `state`: `alone` (nobody was asked yet), `met`, `starting`, as the document has them."""
    nodes = peers()
    registry = registry_of("alpha")
    directory = Directory(APEX.wire, peer_memory.Memory(), Policy())
    made = Responder(APEX, registry, directory, unmixed)
    snapshot = Snapshot(nodes["alpha"], (nodes["bravo"], nodes["charlie"]))
    made.allow(who_may_ask(snapshot))
    if state == "starting":
        return made
    directory.network(snapshot, with_own_host=False)
    directory.own(registry.services())
    if state == "met":
        directory.answered(nodes["charlie"], (), -10.0)
        directory.asking((nodes["bravo"], nodes["charlie"]), 0.0)
        directory.answered(nodes["bravo"], told_by_bravo(), 0.0)
        directory.missed(nodes["charlie"], 0.0)
        directory.asked((nodes["bravo"], nodes["charlie"]))
    return made


def told_by_bravo() -> list[Service]:
    """What bravo answers to `_list`, as alpha believes it."""
    bravo = peers()["bravo"]
    directory = Directory(APEX.wire, peer_memory.Memory(), Policy())
    asked = pack_query(Name.of((b"_list",), APEX).wire, wire.PTR, ident=1, rd=False)
    client = responder.client("100.64.0.1", frozenset(bravo.addresses), tcp=False)
    answer = Responder(APEX, registry_of("bravo"), directory, unmixed).respond(asked, client, 0.0)
    assert isinstance(answer, bytes)
    read = answers.read_answer(wire.Message(answer), APEX)
    assert not read.partial
    return [answers.introduce(told, bravo, "tailscale") for told in read.told]


def octets(block: Block) -> bytes:
    """The message of a hex block."""
    return bytes.fromhex("".join(block.text.split()))


def respond(query: Block) -> bytes | None:
    """What the real responder says to an example's query."""
    options = query.options()
    own = frozenset(peers()["alpha"].addresses)
    client = responder.client(options["from"], own, tcp=options.get("over") == "tcp")
    answer = alpha(options.get("state", "alone")).respond(octets(query), client, float(options.get("at", "0")))
    assert not isinstance(answer, Ask), "the network would have to be asked first"
    if isinstance(answer, Messages):
        (answer,) = answer  # a transfer of one message
    return answer


def decoded(message: bytes) -> str:
    """A message as dnspython understands it, in the document's form."""
    parsed = dns.message.from_wire(message, raise_on_truncation=False)
    flags = dns.flags.to_text(parsed.flags & ~0x7800) or "none"
    opcode, rcode = dns.opcode.to_text(parsed.opcode()), dns.rcode.to_text(parsed.rcode())
    is_response = bool(parsed.flags & dns.flags.QR)
    lines = [f"id {parsed.id}  opcode {opcode}  flags {flags}" + (f"  rcode {rcode}" if is_response else "")]
    if parsed.edns >= 0:
        lines.append(f"edns {parsed.edns}  size {parsed.payload}")
        for option in parsed.options:
            assert isinstance(option, dns.edns.EDEOption)
            lines.append(f"ede {int(option.code)}  {option.text}")
    names = ("question", "answer", "authority", "additional")
    if isinstance(parsed, dns.update.UpdateMessage):
        names = ("zone", "prerequisite", "update", "additional")
    for name, section in zip(names, parsed.sections, strict=True):
        if section:
            lines.append(f";{name}")
        for rrset in section:
            records = rrset.to_text(origin=None, relativize=False)
            lines += [records] if name not in ("question", "zone") else [question(rrset)]
    return "".join(f"{line}\n" for line in lines)


def question(rrset: Any) -> str:
    """One entry of the question section."""
    return f"{rrset.name} {dns.rdataclass.to_text(rrset.rdclass)} {dns.rdatatype.to_text(rrset.rdtype)}"


def as_hex(message: bytes) -> str:
    """Octets as the document prints them: 32 a line, in pairs."""
    rows = [message[at : at + 32] for at in range(0, len(message), 32)]
    return "".join(" ".join(row[at : at + 2].hex() for at in range(0, len(row), 2)) + "\n" for row in rows)


def test_the_document_has_an_example_for_every_outcome() -> None:
    said = {dns.rcode.to_text(dns.message.from_wire(octets(each.response), raise_on_truncation=False).rcode())
            for each in EXAMPLES}  # fmt: skip
    assert said == {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "BADVERS"}
    codes = {int(code) for each in EXAMPLES for code in re.findall(r"(?m)^ede (\d+)", each.response_text.text)}
    assert codes == {14, 18, 22, 23}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.query.heading)
def test_the_responder_gives_exactly_the_octets_of_the_example(example: Example) -> None:
    answer = respond(example.query)
    assert answer is not None
    assert as_hex(answer) == as_hex(octets(example.response)), decoded(answer)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.query.heading)
def test_an_example_decodes_to_the_text_that_is_shown(example: Example) -> None:
    assert decoded(octets(example.query)) == example.query_text.text
    assert decoded(octets(example.response)) == example.response_text.text


def test_the_examples_are_what_an_asker_believes() -> None:
    """The services in the document's answers to SRV and `_list` are alpha's, whole."""
    offered = {each.key for each in registry_of("alpha").services()}
    told = set()
    for example in EXAMPLES:
        message = octets(example.response)
        if message[3] & 0xF or len(message) == 12 or example.query.options().get("state"):
            continue
        read = answers.read_answer(wire.Message(message), APEX)
        told |= {answers.introduce(each, peers()["alpha"], "tailscale").key for each in read.told}
    assert told == offered


def test_the_example_zone_is_all_that_alpha_serves() -> None:
    """Every RRset of the printed zone is given as printed, and no name in it has any other."""
    printed = next(block.text for block in BLOCKS if block.language == "zone")
    parsed = dns.zone.from_text(printed, origin="minidisc.", relativize=False, check_origin=False)
    made = alpha("alone")
    client = responder.client("100.64.0.1", frozenset(), tcp=True)
    types = ("SOA", "NS", "SRV", "PTR", "TXT", "A", "AAAA")
    served, expected = [], []
    for name in sorted(parsed.nodes):
        for rtype in types:
            qname = Name.parse(str(name)).wire
            query = pack_query(qname, int(dns.rdatatype.from_text(rtype)), ident=1, rd=False)
            answer = made.respond(query, client, 0.0)
            assert isinstance(answer, bytes)
            served += [str(rrset) for rrset in dns.message.from_wire(answer).answer]
            rdataset = parsed.get_rdataset(name, rtype)
            expected += [rdataset.to_text(name) for _ in range(1) if rdataset is not None]
    assert sorted_records(served) == sorted_records(expected)
    owners = {str(name).lower() for name in parsed.nodes}
    assert {str(name).lower() for name in targets(parsed)} <= owners


def test_a_transfer_is_the_example_zone() -> None:
    printed = next(block.text for block in BLOCKS if block.language == "zone")
    parsed = dns.zone.from_text(printed, origin="minidisc.", relativize=False, check_origin=False)
    client = responder.client("100.64.0.2", frozenset(), tcp=True)
    messages = alpha("alone").respond(pack_query(APEX.wire, wire.AXFR, ident=1, rd=False), client, 0.0)
    assert not isinstance(messages, bytes | Ask | None)
    served = [str(rrset) for each in messages for rrset in dns.message.from_wire(each, one_rr_per_rrset=True).answer]
    expected = [rdataset.to_text(name) for name, rdataset in parsed.iterate_rdatasets()]
    soa = parsed.get_rdataset("minidisc.", "SOA")
    assert soa is not None
    assert served[0] == served[-1] == soa.to_text(dns.name.from_text("minidisc."))
    assert sorted_records(served) == sorted_records([*expected, served[0]])


def sorted_records(rrsets: list[str]) -> list[str]:
    return sorted(line for rrset in rrsets for line in rrset.splitlines())


def targets(parsed: dns.zone.Zone) -> list[dns.name.Name]:
    """Every name that a record of the zone points at."""
    return [
        getattr(rdata, "target")  # noqa: B009 - PTR, SRV and NS have one
        for rtype in ("PTR", "SRV", "NS")
        for _, _, rdata in parsed.iterate_rdatas(rtype)
    ]


@pytest.mark.parametrize("row", table(TEXT, "Instance labels"), ids=lambda row: row["label"])
def test_instance_labels_are_made_as_the_table_says(row: Mapping[str, str]) -> None:
    machine = instance.machine_label("" if row["machine's name"] == "(none)" else row["machine's name"])
    label = instance.instance_label(machine, row["address"], int(row["port"]), row["protocol"])
    assert label == row["label"]
    assert len(label) <= MAX_LABEL
    assert instance.spoken_protocol(label, int(row["port"])) == row["protocol"]


@pytest.mark.parametrize("row", table(TEXT, "Service names"), ids=lambda row: row["name"])
def test_service_names_are_judged_as_the_table_says(row: Mapping[str, str]) -> None:
    problem = validation.name_problem(json.loads(f'"{row["name"]}"'))
    assert (problem is None) == (row["allowed"] == "yes"), problem


@pytest.mark.parametrize("row", table(TEXT, "Views"), ids=lambda row: row["service label"])
def test_views_are_named_as_the_table_says(row: Mapping[str, str]) -> None:
    key, value = row["service label"].split("=", 1)
    pair = zone.view_pair(key, value)
    name = "none" if pair is None else str(Name.of((pair[1], b"_" + pair[0]), APEX))
    assert name == row["view"]


@pytest.mark.parametrize("row", table(TEXT, "The sentence"), ids=lambda row: row["sentence"])
def test_the_sentence_is_as_the_table_says(row: Mapping[str, str]) -> None:
    names, asked = row["silent"].split(", "), int(row["asked"])
    assert sentence(names, asked) == row["sentence"]
    read = read_sentence(row["sentence"])
    assert read is not None
    assert (len(read.names), read.asked) == (len(names), asked)


@pytest.mark.parametrize("row", table(TEXT, "Serial"), ids=lambda row: row["Unix time in ms"])
def test_serials_move_as_the_table_says(row: Mapping[str, str]) -> None:
    last = None if row["last"] == "(none)" else int(row["last"])
    assert apex.next_serial(last, int(row["Unix time in ms"])) == int(row["next"])


LIMITS: Final = {
    "octets of a service name": validation.MAX_SERVICE_NAME,
    "octets of one service label, key=value": validation.MAX_SERVICE_LABEL,
    "labels of a service": validation.MAX_SERVICE_LABELS,
    "octets of all labels of a service": validation.MAX_LABEL_OCTETS,
    "services of a node": validation.MAX_SERVICES,
    "services accepted from one answer": MAX_FROM_PEER,
    "octets of a DNS label": MAX_LABEL,
    "octets of a DNS name": MAX_NAME,
    "labels that views chain": zone.MAX_VIEW_DEPTH,
    "octets of a UDP answer off loopback": responder.TAILNET_SIZE,
    "octets of a UDP answer to a client without EDNS": responder.PLAIN_SIZE,
    "octets of a query over TCP": dns_connection.LARGEST_QUERY,
    "octets of a transfer that is read": transfer.MOST_OCTETS,
    "messages of a transfer that is read": transfer.MOST_MESSAGES,
    "steps that a node remembers for IXFR": journal.MOST_STEPS,
    "octets of these steps": journal.MOST_OCTETS,
    "SRV, TXT, A and AAAA records of a transfer that is read": transfer.MOST_RECORDS,
    "TCP connections": connection_limits.MOST_CONNECTIONS,
    "TCP connections of one source": connection_limits.MOST_PER_SOURCE,
    "sessions of DNS Stateful Operations": connection_limits.MOST_SESSIONS,
    "sessions of one source": connection_limits.MOST_SESSIONS_PER_SOURCE,
    "subscriptions of one session": push_subscriptions.MOST_SUBSCRIPTIONS,
    "octets of a PUSH message": push_subscriptions.MOST_OCTETS,
    "queries in progress on one TCP connection": dns_connection.MOST_QUESTIONS,
    "octets of answers that a TCP client has not read": dns_connection.MOST_UNSENT,
    "octets of an HTTP request's head": connection.LARGEST_HEAD,
    "octets of an HTTP request's body": connection.LARGEST_BODY,
    "queries that wait for the network": domain._MOST_WAITING,
    "refusals a second": responder._REFUSALS_PER_SECOND,
    "pointers in a row in a name": wire.MAX_HOPS,
    "peers queried at a time": datagrams.IN_FLIGHT,
    "peers named in the sentence": 8,
    "octets of the text of an Extended DNS Error": 200,
}

TIMES: Final = {
    "TTL of records": instance.TTL,
    "TTL of negative answers": apex.NEGATIVE_TTL,
    "deadline of a lookup, by default": 1,
    "retransmission of a query": datagrams.RETRY,
    "wait after the last answer for peers never heard of": patience.NEW_GRACE,
    "wait after the last answer for peers that refused or were silent for long": patience.IDLE_GRACE,
    "wait for the own host's node before other nodes are queried": fanout.HEAD_START,
    "a silent peer is gone after its last answer by": peer_memory.GONE_AFTER,
    "a peer is silent after the first unanswered query for at least": peer_memory._MISS_STANDS,
    "a peer that refused is not queried for, at first": peer_memory.FIRST_PAUSE,
    "a peer that refused is not queried for, at most": peer_memory.LONGEST_PAUSE,
    "first octet of a TCP connection": dns_connection.FIRST_OCTET,
    "a whole message over TCP": dns_connection.WHOLE_MESSAGE,
    "Retry Delay of a refused session": dns_connection.STAY_AWAY,
    "no new session after a protocol error": session_schedule.NONSENSE_FOR,
    "no new session after a Retry Delay, at most": push_client.LONGEST_REFUSAL,
    "wait for the answer to a request of a session": dso_client.ANSWER_WITHIN,
    "changes are pushed together within": push_sessions.SPACING,
    "interval between queries of a watcher to one peer": polling.EVERY,
    "interval between queries of a watcher to its own node, if that has a mirror": polling.OWN_EVERY,
    "a watcher queries its own node alone for, at most": own_holder.ALONE_FOR,
    "a watcher waits for a mirror that contradicts what it learned, at most": own_holder.AGREE_WITHIN,
    "a mirror continues without sessions for": mirrors_by_apex.KEPT_FOR,
    "wait between sessions that end at once, at most": host_state.SESSION_AGAIN_AT_MOST,
    "between messages of a TCP connection": dns_connection.IDLE,
    "a whole transfer": dns_connection.TRANSFER,
    "interval between reads of the network's list of nodes": follower.STATUS_EVERY,
    "the same if tailscaled reports changes": follower.STATUS_EVERY_WITH_BELL,
    "a whole HTTP request": connection.WHOLE_REQUEST,
    "between HTTP requests of a connection": connection.IDLE,
    "an HTTP answer that waits for the network": connection.ANSWER_WITHIN,
    "an HTTP response until the client has read it": connection.SEND_WITHIN,
}


@pytest.mark.parametrize(("heading", "expected"), [("Limits", LIMITS), ("Times", TIMES)], ids=["limits", "times"])
def test_the_numbers_are_the_codes_own(heading: str, expected: Mapping[str, float]) -> None:
    said = {row["what"]: float(row["at most" if heading == "Limits" else "seconds"].replace(",", ""))
            for row in table(TEXT, heading)}  # fmt: skip
    assert said == {what: pytest.approx(value) for what, value in expected.items()}


def test_the_defaults_are_told() -> None:
    for told in (f"**{DEFAULT_PORT}**", f"priority {DEFAULT_PRIORITY}", f"weight {DEFAULT_WEIGHT}"):
        assert told in TEXT
    assert f"{writer.UDP_PAYLOAD} octets" in TEXT


def test_the_text_of_an_extended_error_is_cut_where_the_table_says() -> None:
    opt = writer.opt_record(errors=[(0, "x" * 1000)])
    assert opt.count(b"x") == LIMITS["octets of the text of an Extended DNS Error"]
    assert sentence([str(n) for n in range(20)], 20).count(",") + 1 == LIMITS["peers named in the sentence"]


def test_the_example_addresses_are_tailscales() -> None:
    for each in peers().values():
        four = ipaddress.ip_address(each.addresses[0])
        assert four in ipaddress.ip_network("100.64.0.0/10")


SESSION: Final = [block for block in BLOCKS if block.info[:2] == ("hex", "session")]


class Heard:
    """The node's end of a connection: what it sends."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, message: bytes) -> bool:
        self.sent.append(message)
        return True

    def end(self) -> None:
        raise AssertionError("the node ends the connection")

    abort = end


def session(asked: list[bytes]) -> list[bytes]:
    """All messages of a session of alpha's, from both sides, in their order."""
    heard = Heard()
    told: list[bytes] = []

    async def main() -> None:
        opened = push_sessions.Sessions(alpha("alone").standing, lambda _: True, lambda: 0.0).begin(heard, "100.64.0.2")
        assert opened
        for message in asked:
            told.append(message)
            opened.receive(message)
            told.extend(heard.sent)
            heard.sent.clear()
        opened.farewell()
        told.extend(heard.sent)
        opened.lost()

    asyncio.run(main())
    return told


def test_a_session_goes_as_the_example_shows() -> None:
    shown = [(block.info[2], as_hex(octets(block))) for block in SESSION]
    assert [who for who, _ in shown] == ["client", "node", "node", "client", "node", "node"]
    told = session([octets(block) for block in SESSION if block.info[2] == "client"])
    assert [as_hex(message) for message in told] == [text for _, text in shown]


def test_dnspython_reads_the_header_of_each_message_of_the_session() -> None:
    for block in SESSION:
        message = octets(block)
        assert dns.opcode.from_flags(int.from_bytes(message[2:4], "big")) == 6
        assert message[4:12] == bytes(8)


def vectors(found: list[Example]) -> dict[str, Any]:
    """The example messages for other implementations: the network, and each query with its expected response."""

    def vector(example: Example) -> dict[str, Any]:
        options = example.query.options()
        return {
            "name": example.query.heading,
            "from": options["from"],
            "transport": options.get("over", "udp"),
            "state": options.get("state", "alone"),
            "at": float(options.get("at", "0")),
            "query": octets(example.query).hex(),
            "response": octets(example.response).hex(),
            "queryText": example.query_text.text.splitlines(),
            "responseText": example.response_text.text.splitlines(),
        }

    return {"protocol": "md.v=1", "apex": "minidisc.", "network": NETWORK, "vectors": [vector(each) for each in found]}


def test_the_vectors_are_the_examples_of_the_document() -> None:
    assert json.loads(VECTORS.read_text("utf-8")) == vectors(EXAMPLES), (
        "write them anew: PYTHONPATH=tests python tests/docs/test_protocol.py"
    )


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_responder_gives_the_octets_of_each_vector(number: int) -> None:
    vector = json.loads(VECTORS.read_text("utf-8"))["vectors"][number]
    own = frozenset(peers()["alpha"].addresses)
    client = responder.client(vector["from"], own, tcp=vector["transport"] == "tcp")
    answer = alpha(vector["state"]).respond(bytes.fromhex(vector["query"]), client, vector["at"])
    assert not isinstance(answer, Ask)
    (octets_,) = answer if isinstance(answer, Messages) else (answer,)
    assert octets_ is not None
    assert octets_.hex() == vector["response"]


def rewrite() -> None:
    """Writes responses and decoded text into the document, and the vectors, in place of what stands there."""
    lines = TEXT.splitlines()
    messages = session([octets(block) for block in SESSION if block.info[2] == "client"])
    for block, message in reversed(list(zip(SESSION, messages, strict=True))):
        lines[block.line : block.line + len(block.text.splitlines())] = as_hex(message).splitlines()
    for example in reversed(EXAMPLES):
        answer = respond(example.query)
        assert answer is not None, f"line {example.query.line}: no answer"
        for block, text in (
            (example.response_text, decoded(answer)),
            (example.response, as_hex(answer)),
            (example.query_text, decoded(octets(example.query))),
            (example.query, as_hex(octets(example.query))),
        ):
            lines[block.line : block.line + len(block.text.splitlines())] = text.splitlines()
    text = "\n".join(lines) + "\n"
    DOC.write_text(text, "utf-8")
    VECTORS.write_text(json.dumps(vectors(examples(blocks(text))), indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    rewrite()
