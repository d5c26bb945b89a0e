"""Zone files as people keep them: each SRV a service, and every slip answered with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from places import ROOT

from mddns.base.errors import ConfigError
from mddns.base.names import label_to_text
from mddns.base.offer import Offer
from mddns.base.validation import label_problem
from mddns.files.zone_file import read_zone

ZONES = sorted((ROOT / "zones").glob("*.zone"))
ALPHA = "alpha A 100.64.0.1\n"


def read(text: str) -> list[Offer]:
    return read_zone(text, "my.zone", "minidisc")[0]


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def fault(text: str) -> str:
    (only,) = faults(text)
    return only


def web(rest: str = "") -> str:
    """A right zone of two lines, and what follows them."""
    return f"web SRV 10 10 8080 alpha\n{ALPHA}{rest}"


def test_an_srv_is_a_service_at_its_targets_address() -> None:
    expected = Offer("web", {}, 8080, "100.64.0.1", "tcp", 1, 2, ("100.64.0.1",), "my.zone:2")
    assert read("; mine\nweb SRV 1 2 8080 alpha\n" + ALPHA) == [expected]


def test_all_addresses_of_the_target_count_and_ipv4_is_first() -> None:
    (offer,) = read("web SRV 1 2 80 alpha\nalpha AAAA fd7a::0:1\nalpha A 1.2.3.4\nalpha A 1.2.3.5\n")
    assert offer.address == "1.2.3.4"
    assert offer.addresses == ("1.2.3.4", "1.2.3.5", "fd7a::1")


def test_a_target_with_ipv6_alone_is_enough() -> None:
    assert read("web SRV 1 2 80 alpha\nalpha AAAA fd7a::1\n")[0].address == "fd7a::1"


@pytest.mark.parametrize(
    ("owner", "name", "protocol"),
    [
        ("Web", "Web", "tcp"),
        ("_web._tcp", "web", "tcp"),
        ("_web._UDP", "web", "udp"),
        ("_web._udp.minidisc.", "web", "udp"),
        ("WEB.MiniDisc.", "WEB", "tcp"),
        (r"a\.b", "a.b", "tcp"),
        (r"caf\195\169", "café", "tcp"),
        ("café", "café", "tcp"),
        (r"a\ b", "a b", "tcp"),
    ],
)
def test_the_name_is_the_owners_first_label_and_the_protocol_its_second(owner: str, name: str, protocol: str) -> None:
    (offer,) = read(f"{owner} SRV 1 2 80 alpha\n{ALPHA}")
    assert (offer.name, offer.protocol) == (name, protocol)


def test_targets_hang_from_the_origin_that_is_in_force() -> None:
    text = """\
web SRV 1 1 1 h
$ORIGIN lab.minidisc.
h A 1.1.1.1
$ORIGIN minidisc.
h A 2.2.2.2
db SRV 1 1 1 h.lab
$ORIGIN lab
www.minidisc. SRV 1 1 1 h
wiki.minidisc. SRV 1 1 1 h.minidisc.
up.minidisc. SRV 1 1 1 @
@ A 3.3.3.3
"""
    assert {offer.name: offer.address for offer in read(text)} == {
        "web": "2.2.2.2",
        "db": "1.1.1.1",
        "www": "1.1.1.1",
        "wiki": "2.2.2.2",
        "up": "3.3.3.3",
    }


@pytest.mark.parametrize("origin", ["minidisc", "minidisc.", "MiniDisc."])
def test_the_apex_may_be_given_in_any_form(origin: str) -> None:
    assert len(read_zone("web.minidisc. SRV 1 1 1 alpha.minidisc.\n" + ALPHA, "my.zone", origin)[0]) == 1


def test_an_apex_of_several_labels_is_one() -> None:
    (offer,) = read_zone(
        "$ORIGIN minidisc.internal.\n_web._udp SRV 1 1 1 a\na A 1.1.1.1\n", "my.zone", "minidisc.internal"
    )[0]
    assert (offer.name, offer.protocol) == ("web", "udp")


@pytest.mark.parametrize("before", ["IN", "300", "300 IN", "IN 300", "in 1h30m", "1W"])
def test_class_and_ttl_may_stand_in_either_order(before: str) -> None:
    assert len(read(f"$TTL 1d\nweb {before} SRV 1 1 1 alpha\nalpha {before} A 1.1.1.1\n")) == 1


def test_a_blank_stands_for_the_owner_before() -> None:
    assert [offer.port for offer in read(f"web SRV 1 1 1 alpha\n\n; note\n\tSRV 1 1 2 alpha\n{ALPHA}")] == [1, 2]


def test_parentheses_join_lines_and_comments_end_with_theirs() -> None:
    (offer,) = read('web SRV ( 1 ; ) priority\n 2\n\n80 alpha ) ; "end\n TXT ( "a=;(" ;x\n b=2 )\n' + ALPHA)
    assert (offer.priority, offer.weight, offer.port, offer.labels) == (1, 2, 80, {"a": ";(", "b": "2"})
    assert offer.where == "my.zone:1"


def test_crlf_a_byte_order_mark_and_a_missing_last_line_end_are_read() -> None:
    assert [offer.name for offer in read("\ufeffweb SRV 1 1 1 alpha\r\nalpha A 1.1.1.1")] == ["web"]


def test_soa_and_ns_are_skipped_with_a_word_and_glue_without_one() -> None:
    offers, remarks = read_zone("@ SOA ns h 1 2 3 4 5\n NS ns\nns A 1.1.1.1\n" + web(), "my.zone", "minidisc")
    assert len(offers) == 1
    assert remarks == ["my.zone:1: SOA skipped; mddns makes its own", "my.zone:2: NS skipped; mddns makes its own"]


def test_a_zone_without_services_is_right() -> None:
    assert read("@ SOA ns h 1 2 3 4 5\n") == []


# --- labels --------------------------------------------------------------------------------------------------------


def test_labels_are_those_of_the_owner_for_all_its_instances() -> None:
    offers = read(web("web SRV 1 1 81 alpha\nweb TXT env=prod\n TXT region=eu env=prod\n"))
    assert [offer.labels for offer in offers] == [{"env": "prod", "region": "eu"}] * 2


def test_a_txt_at_the_target_comes_first() -> None:
    offers = read(
        web('web SRV 1 1 81 bravo\nbravo A 1.1.1.1\nbravo TXT "role=standby"\nweb TXT "role=primary" "x=y"\n')
    )
    assert [offer.labels for offer in offers] == [{"role": "primary", "x": "y"}, {"role": "standby"}]


def test_an_empty_txt_at_the_target_says_that_it_has_no_labels() -> None:
    assert read(web('alpha TXT ""\nweb TXT "env=prod"\n'))[0].labels == {}


@pytest.mark.parametrize(
    ("string", "labels"),
    [
        ('"a=b=c"', {"a": "b=c"}),
        ('"a="', {"a": ""}),
        ('"a"', {"a": ""}),
        ('"md.since=1"', {}),
        ('"MD.x"', {}),
        ('""', {}),
        (r'"q=\"\\\059"', {"q": '"\\;'}),
        (r'"n=\195\169é"', {"n": "éé"}),
        (r"u=a\ b\;c", {"u": "a b;c"}),
        ('"s=  "', {"s": "  "}),
        ('"a=1""b=2"', {"a": "1", "b": "2"}),
    ],
)
def test_a_string_is_a_label(string: str, labels: dict[str, str]) -> None:
    assert read(web(f"web TXT {string}\n"))[0].labels == labels


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.booleans(),
)
def test_labels_written_to_a_zone_are_read_back_as_written(key: str, value: str, quoted: bool) -> None:
    if label_problem(key, value):
        return
    string = label_to_text(f"{key}={value}".encode())
    assert read(web(f'web TXT "{string}"\n' if quoted else f"web TXT {string}\n"))[0].labels == {key: value}


# --- what is wrong -------------------------------------------------------------------------------------------------


def test_all_faults_come_at_once_in_order_of_lines() -> None:
    text = """\
web  SRV  10 10 0 alpha
     SRV  10 10 70000 alpha
     SRV  10 65536 80 alpha
     SRV  -1 10 80 alpha
     SRV  10 10 80 nowhere
*    SRV  10 10 80 alpha
x.example.com. A 1.2.3.4
alias CNAME web
$INCLUDE other.zone
$GENERATE 1-3 a A 1.1.1.1
$FOO
alpha A 1.2.3
alpha AAAA 1.2.3.4
db CH SRV 1 1 1 alpha
db 300
"never closed
ns SRV 1 1 1 alpha
a..b A 1.1.1.1
web TXT "=x" "Env=1" "env=1" "n=\\255" "d=\\256"
"""
    found = faults(text)
    lines = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 19, 19, 19]
    assert [line.split(": ")[0] for line in found] == [f"my.zone:{line}" for line in lines]


def test_a_target_without_address_says_which_record_to_add() -> None:
    assert fault("web SRV 1 1 80 alpha\n") == (
        "my.zone:1: no address of the target alpha.minidisc. is in this file; "
        "add 'alpha.minidisc. A 100.64.0.1', with its address"
    )


def test_a_target_that_lacks_its_final_dot_is_told_so() -> None:
    assert fault(f"web SRV 1 1 80 alpha.minidisc\n").endswith("the name lacks its final dot")  # noqa: F541


@pytest.mark.parametrize("target", [".", "alpha.example.com.", "minidisc."])
def test_a_target_that_can_have_no_address_here_is_told_what_to_name(target: str) -> None:
    assert fault(f"web SRV 1 1 80 {target}\n").endswith("name a host under minidisc.")


@pytest.mark.parametrize("record", ["nas A 1.1.1.1", "nas AAAA ::1", "web A 100.64.0.1", "nas TXT a=b", "@ TXT v=spf1"])
def test_a_record_that_no_srv_needs_is_an_error(record: str) -> None:
    assert fault(web(record + "\n")).startswith("my.zone:3: no SRV record uses this ")


@pytest.mark.parametrize("owner", ["@", "a.web", "_web._sctp", "_web._tcp.a", "_web", "web._tcp"])
def test_an_owner_that_names_no_service_is_an_error(owner: str) -> None:
    assert fault(f"{owner} SRV 1 1 1 alpha\n{ALPHA}").startswith("my.zone:1: ")


def test_a_doubled_service_names_both_places() -> None:
    found = fault(web("_WEB._tcp SRV 1 1 8080 ALPHA\n"))
    assert found == "my.zone:3: 'WEB' has this address in my.zone:1 already; remove one of them"


def test_two_strings_that_contradict_each_other_are_an_error() -> None:
    assert "another TXT string of web.minidisc. has the value 'b'" in fault(web("web TXT a=b a=c\n"))


def test_a_label_of_256_octets_is_an_error() -> None:
    assert read(web(f'web TXT "k={"v" * 253}"\n'))
    assert "256 octets" in fault(web(f'web TXT "k={"v" * 254}"\n'))


def test_too_many_labels_are_an_error_at_the_txt() -> None:
    assert fault(web("web TXT " + " ".join(f"k{i}=v" for i in range(65)))).startswith("my.zone:3: 65 labels")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" SRV 1 1 1 a", 1),
        ("\n\n(", 3),
        (")", 1),
        ("\na ((", 2),
        ('"', 1),
        ("\\", 1),
        ("web", 1),
        ("web IN", 1),
        ("web SRV", 1),
        ("web SRV 1 1 1", 1),
        ("web TXT", 1),
        ("$ORIGIN", 1),
        ("$TTL x", 1),
        ("$ORIGIN a..b", 1),
        ("\n\ud800 A 1.1.1.1", 2),
        ("a A", 1),
        ("a A 1.1.1.1 2.2.2.2", 1),
        ("a AAAA fe80::1%eth0", 1),
        ("a A 0.0.0.0", 1),
        ("\xa0 A 1.1.1.1", 1),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text: str, line: int) -> None:
    assert faults(text)[0].startswith(f"my.zone:{line}: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (")", "my.zone:1: ')' is unexpected"),
        ("a TXT ( ( b ) )", "my.zone:1: '(' is unexpected"),
        ("\n(", "my.zone:2: '(' is not closed"),
        ('a TXT "b', "my.zone:1: a quote is not closed"),
        ("\\", "my.zone:1: '\\\\' is not allowed here"),
        ("\n\ud800 CNAME a", "my.zone:2: '\\ud800' is not valid UTF-8"),
        ('web TXT "a=\\256"', "my.zone:1: \\256 is no octet"),
        ('web TXT "a=\\255"', "my.zone:1: label 'a': the value is not valid UTF-8"),
    ],
)
def test_what_no_zone_file_may_contain_is_named(text: str, said: str) -> None:
    assert faults(text)[0].startswith(said)


def test_a_text_that_is_no_utf_8_is_not_read_further() -> None:
    assert fault("a CNAME b\n\ud800 CNAME a\n").startswith("my.zone:2: ")


def test_an_owner_that_is_wrong_is_not_taken_for_the_one_before() -> None:
    found = faults(web("*.x SRV 1 1 1 alpha\n TXT a=b\n"))
    assert [line.split(": ")[0] for line in found] == ["my.zone:3", "my.zone:4"]


@pytest.mark.parametrize("text", ["", "\n", "; nothing\n"])
def test_an_empty_file_is_an_error_since_editors_pass_through_it(text: str) -> None:
    assert fault(text).startswith("my.zone:1: there are no records")


def test_a_file_of_10_mb_is_refused_unread() -> None:
    assert fault("a CNAME b\n" * 1_000_000).startswith("my.zone:1: 10000000 characters; at most")


def test_a_thousand_services_are_read_and_one_more_is_too_many() -> None:
    text = ALPHA + "".join(f"s{i} SRV 1 1 1 alpha\n" for i in range(1000))
    assert len(read(text)) == 1000
    assert "at most 1000" in fault(text + "more SRV 1 1 1 alpha\n")


def test_after_a_hundred_faults_the_reading_ends_and_says_so() -> None:
    found = faults("a CNAME b\n" * 500)
    assert len(found) == 101
    assert found[-1] == "my.zone: 100 errors; the rest of the file was not checked"


def test_what_a_message_quotes_is_escaped_and_short() -> None:
    found = fault(web("\x1b[2J\x1b" + "x" * 20 + " " + "\x1b" * 9999 + " a\n"))
    assert found.isprintable()
    assert len(found) < 500


words = "web alpha @ $ORIGIN $TTL $INCLUDE minidisc. x. _web._tcp * SRV A AAAA TXT SOA NS IN CH 1 80 1h 1.1.1.1 fd7a::1"
others = [
    "a=b",
    '"a=b"',
    "\\",
    "\\1",
    "\\256",
    "é",
    "\n",
    "\n",
    "\n ",
    "(",
    ")",
    '"',
    ";",
    "\r",
    "\0",
    "\x85",
    "\ud800",
    "\udcff",
    "\ufeff",
]
pieces = st.sampled_from([*words.split(), *others])


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces, max_size=40).map(" ".join))
@example("web.\ud800. A 1.1.1.1")
@example("web SRV 1 1 " + "9" * 5000 + " alpha")
def test_any_text_gives_offers_or_a_config_error(text: str) -> None:
    try:
        assert all(isinstance(offer, Offer) for offer in read(text))
    except ConfigError as error:
        assert [problem for problem in error.problems if not problem.startswith("my.zone:")] == []  # noqa: PT017


# --- the examples --------------------------------------------------------------------------------------------------

EXAMPLES = {
    "hosts.zone": {
        "files [fd7a:115c:a1e0::9]:445",
        "photos [fd7a:115c:a1e0::9]:2342",
        "dns 100.64.0.8:53",
        "café 100.64.0.8:80",
    },
    "minidisc.zone": {
        "web 100.64.0.1:8080",
        "web 100.64.0.2:8080",
        "db 100.64.0.3:5432",
        "db 100.64.0.4:5432",
        "syslog 100.64.0.3:514",
    },
    "short.zone": {"web 100.64.0.1:8080"},
}


def test_every_example_is_known_here() -> None:
    assert [path.name for path in ZONES] == sorted(EXAMPLES)


@pytest.mark.parametrize("path", ZONES, ids=lambda path: path.name)
def test_an_example_gives_the_services_that_it_shows(path: Path) -> None:
    offers, _ = read_zone(path.read_text(encoding="utf-8"), path.name, "minidisc")
    shown = {
        f"{offer.name} {f'[{offer.address}]' if ':' in str(offer.address) else offer.address}:{offer.port}"
        for offer in offers
    }
    assert shown == EXAMPLES[path.name]


@pytest.mark.parametrize("path", ZONES, ids=lambda path: path.name)
def test_an_example_reads_the_same_to_dnspython(path: Path) -> None:
    dns_zone = pytest.importorskip("dns.zone")
    text = "$TTL 5\n" + path.read_text(encoding="utf-8")  # which mddns does not need
    zone = dns_zone.from_text(text, origin="minidisc.", relativize=False, check_origin=False)
    theirs = {
        (srv.priority, srv.weight, srv.port, str(address))
        for _, _, srv in zone.iterate_rdatas("SRV")
        for kind in ("A", "AAAA")
        for address in zone.get_rdataset(srv.target, kind) or ()
    }
    offers, _ = read_zone(path.read_text(encoding="utf-8"), path.name, "minidisc")
    ours = {(offer.priority, offer.weight, offer.port, address) for offer in offers for address in offer.addresses}
    assert ours == theirs


# A whole zone

MARK = '_mddns TXT "md.v=1"\n'
WHOLE = """
_list           PTR  alpha-8080.Web
_list           PTR  bravo-53-udp.dns
web             SRV  10 10 8080 alpha-8080.Web
web             TXT  "env=prod"
web             TXT  "env=dev"
web             A    100.64.0.1
_web._tcp       SRV  10 10 8080 alpha-8080.Web
_web._tcp       PTR  alpha-8080._Web._tcp
alpha-8080.web  SRV  10 10 8080 alpha-8080.Web
alpha-8080.web  TXT  "env=prod" "md.since=1" "md.srv=kv"
alpha-8080.web  A    100.64.0.1
alpha-8080._web._tcp SRV 10 10 8080 alpha-8080.Web
_kv._tcp.web    SRV  10 10 8080 alpha-8080.Web
dns             SRV  10 10 53 bravo-53-udp.dns
bravo-53-udp.dns SRV 10 10 53 bravo-53-udp.dns
bravo-53-udp.dns TXT ""
bravo-53-udp.dns AAAA fd7a::2
ns              A    100.64.0.9
"""


@pytest.mark.parametrize("text", [MARK + WHOLE, WHOLE + MARK], ids=["first", "last"])
def test_of_a_whole_zone_the_instances_are_read_wherever_it_says_so(text: str) -> None:
    web, dns = read(text)
    assert (web.name, web.port, web.address, web.protocol) == ("Web", 8080, "100.64.0.1", "tcp")
    assert (web.labels, web.srv) == ({"env": "prod"}, ("kv",))
    assert (dns.name, dns.port, dns.address, dns.protocol) == ("dns", 53, "fd7a::2", "udp")


def test_what_follows_from_instances_is_a_fault_where_somebody_wrote_it() -> None:
    assert fault(web("_list PTR alpha\n")) == (
        "my.zone:3: type 'PTR': only SRV, TXT, A, AAAA, SOA, NS are supported; remove this record"
    )


def test_what_no_file_may_offer_is_left_out_of_a_whole_zone_with_a_word() -> None:
    rest = "x-1.db SRV 1 1 1 x-1.db\nx-1.db A 0.0.0.0\n"
    offers, remarks = read_zone(MARK + WHOLE + rest.splitlines(keepends=True)[0], "my.zone", "minidisc")
    assert [offer.name for offer in offers] == ["Web", "dns"]
    assert "my.zone:21: left out: no address of the target x-1.db.minidisc. is in this file" in remarks[-1]
    offers, remarks = read_zone(MARK + WHOLE + rest, "my.zone", "minidisc")
    assert [offer.name for offer in offers] == ["Web", "dns"]
    assert [remark.split(": ")[1] for remark in remarks if ": left out" in remark] == ["left out"] * 2
