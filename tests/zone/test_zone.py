"""What stands at which name (design.md section 3), asked as octets and judged by dnspython."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import ALPHA, APEX, BRAVO, CHARLIE, SINCE, Fleet, Host, Said, peer, zone

from mddns.base.model import Endpoint, Service, replace
from mddns.base.names import Name
from mddns.base.offer import make
from mddns.zone.zone import MAX_HELD, MAX_VIEWS, Zone, view_pair

OWN = "md.since=1800000000000"


@pytest.fixture
def alpha() -> Host:
    """`web` (tcp, over IPv6 too), `dns` (udp, priority 1, weight 2), and `db`, a remote one."""
    host = Host(ALPHA)
    web = host.advertise("web", 8080, {"env": "prod", "Region": "eu"})
    host.registry.answers_over_six(web, True, 0)
    host.advertise("dns", 53, protocol="udp", priority=1, weight=2)
    host.advertise("db", 5432, {"env": "test"}, address="100.64.0.9")
    return host


def of_web(suffix: str = "") -> str:
    """The additional records of web's one instance."""
    return f"""
        alpha-8080.web{suffix} 5 IN TXT "Region=eu" "env=prod" "{OWN}"
        alpha-8080.web{suffix} 5 IN A 100.64.0.1
        alpha-8080.web{suffix} 5 IN AAAA fd7a::1
    """


# The table, row by row


def test_a_service_has_an_srv_for_each_instance_with_its_txt_and_addresses_beside_it(alpha: Host) -> None:
    said = alpha.ask("web SRV")
    assert said.answer == zone("web 5 IN SRV 10 10 8080 alpha-8080.web")
    assert said.additional == zone(of_web())


def test_priority_weight_and_protocol_are_told(alpha: Host) -> None:
    assert alpha.ask("dns SRV").answer == zone("dns 5 IN SRV 1 2 53 alpha-53-udp.dns")


def test_a_service_has_a_txt_without_our_own_keys(alpha: Host) -> None:
    assert alpha.ask("web TXT").answer == zone('web 5 IN TXT "Region=eu" "env=prod"')


def test_a_service_without_labels_has_an_empty_txt_string(alpha: Host) -> None:
    assert alpha.ask("dns TXT").answer == zone('dns 5 IN TXT ""')


def test_equal_txt_of_several_instances_stands_once(alpha: Host) -> None:
    alpha.advertise("web", 8081, {"Region": "eu", "env": "prod"})
    alpha.advertise("web", 8082, {"env": "test"})
    assert alpha.ask("web TXT").answer == zone("""
        web 5 IN TXT "Region=eu" "env=prod"
        web 5 IN TXT "env=test"
    """)


def test_a_service_has_the_addresses_of_its_instances_each_once(alpha: Host) -> None:
    alpha.advertise("web", 8081)
    alpha.advertise("web", 80, address="100.64.0.9")
    assert alpha.ask("web A").answer == zone("web 5 IN A 100.64.0.1\nweb 5 IN A 100.64.0.9")
    assert alpha.ask("web AAAA").answer == zone("web 5 IN AAAA fd7a::1")


def test_an_instance_has_the_same_for_itself_alone_and_txt_with_our_own_keys(alpha: Host) -> None:
    alpha.advertise("web", 8081)
    assert alpha.ask("alpha-8080.web SRV").answer == zone("alpha-8080.web 5 IN SRV 10 10 8080 alpha-8080.web")
    assert alpha.ask("alpha-8080.web SRV").additional == zone(of_web())
    assert alpha.ask("alpha-8080.web TXT").answer == zone(f'alpha-8080.web 5 IN TXT "Region=eu" "env=prod" "{OWN}"')
    assert alpha.ask("alpha-8080.web A").answer == zone("alpha-8080.web 5 IN A 100.64.0.1")
    assert alpha.ask("alpha-8080.web AAAA").answer == zone("alpha-8080.web 5 IN AAAA fd7a::1")


def test_rfc_2782_names_have_the_services_srv(alpha: Host) -> None:
    said = alpha.ask("_web._tcp SRV")
    assert said.answer == zone("_web._tcp 5 IN SRV 10 10 8080 alpha-8080.web")
    assert said.additional == zone(of_web())


def test_rfc_6763_names_point_at_instances_that_have_srv_and_txt(alpha: Host) -> None:
    said = alpha.ask("_web._tcp PTR")
    assert said.answer == zone("_web._tcp 5 IN PTR alpha-8080._web._tcp")
    assert said.additional == zone(f"""
        alpha-8080._web._tcp 5 IN SRV 10 10 8080 alpha-8080.web
        alpha-8080._web._tcp 5 IN TXT "Region=eu" "env=prod" "{OWN}"
        alpha-8080.web 5 IN A 100.64.0.1
        alpha-8080.web 5 IN AAAA fd7a::1
    """)
    srv = alpha.ask("alpha-8080._web._tcp SRV")
    assert srv.answer == zone("alpha-8080._web._tcp 5 IN SRV 10 10 8080 alpha-8080.web")
    assert srv.additional == zone(of_web())
    assert alpha.ask("alpha-8080._web._tcp TXT").answer == zone(
        f'alpha-8080._web._tcp 5 IN TXT "Region=eu" "env=prod" "{OWN}"'
    )


def test_a_service_stands_under_its_own_protocol_alone(alpha: Host) -> None:
    assert alpha.ask("_dns._udp SRV").answer == zone("_dns._udp 5 IN SRV 1 2 53 alpha-53-udp.dns")
    assert alpha.ask("_dns._tcp SRV").rcode == "NXDOMAIN"
    assert alpha.ask("_web._udp SRV").rcode == "NXDOMAIN"


@pytest.mark.parametrize("which", ["b", "db", "lb"])
def test_browsers_are_told_to_browse_here_and_in_a_view_there(alpha: Host, which: str) -> None:
    assert alpha.ask(f"{which}._dns-sd._udp PTR").answer == zone(f"{which}._dns-sd._udp 5 IN PTR @")
    view = f"{which}._dns-sd._udp.prod._env"
    assert alpha.ask(f"{view} PTR").answer == zone(f"{view} 5 IN PTR prod._env")


@pytest.mark.parametrize("which", ["r", "dr", "x"])
def test_nobody_is_told_to_register_here(alpha: Host, which: str) -> None:
    assert alpha.ask(f"{which}._dns-sd._udp PTR").rcode == "NXDOMAIN"


def test_services_lists_every_type_once(alpha: Host) -> None:
    alpha.advertise("WEB", 8081)
    alpha.advertise("web", 53, protocol="udp")
    assert {line.lower() for line in alpha.ask("_services._dns-sd._udp PTR").answer} == zone("""
        _services._dns-sd._udp 5 in ptr _db._tcp
        _services._dns-sd._udp 5 in ptr _dns._udp
        _services._dns-sd._udp 5 in ptr _web._tcp
        _services._dns-sd._udp 5 in ptr _web._udp
    """)


def test_list_tells_everything_in_one_answer(alpha: Host) -> None:
    said = alpha.ask("_list PTR")
    assert said.answer == zone("""
        _list 5 IN PTR alpha-8080.web
        _list 5 IN PTR alpha-53-udp.dns
        _list 5 IN PTR 100-64-0-9-5432.db
    """)
    assert said.additional == zone(f"""
        {of_web()}
        alpha-8080.web 5 IN SRV 10 10 8080 alpha-8080.web
        alpha-53-udp.dns 5 IN SRV 1 2 53 alpha-53-udp.dns
        alpha-53-udp.dns 5 IN TXT "{OWN}"
        alpha-53-udp.dns 5 IN A 100.64.0.1
        100-64-0-9-5432.db 5 IN SRV 10 10 5432 100-64-0-9-5432.db
        100-64-0-9-5432.db 5 IN TXT "env=test" "{OWN}"
        100-64-0-9-5432.db 5 IN A 100.64.0.9
    """)


@pytest.mark.parametrize("text", ["_web._tcp.prod._env PTR", "_list.prod._env PTR", "_services._dns-sd._udp PTR"])
def test_what_browses_is_authoritative_and_has_no_authority_section(alpha: Host, text: str) -> None:
    said = alpha.ask(text)
    assert said.answer
    assert said.authority == set()
    assert said.flags >= {"QR", "AA", "RA"}


# Which names exist


@pytest.mark.parametrize(
    "text",
    [
        "_tcp",
        "_udp",
        "_dns-sd._udp",
        "_env",
        "prod._env",
        "eu._region.prod._env",
        "_region.prod._env",
        "_tcp.prod._env",
    ],
)
@pytest.mark.parametrize("qtype", ["A", "SRV", "ANY", "TYPE65280"])
def test_an_empty_non_terminal_is_nodata_with_the_apexs_soa(alpha: Host, text: str, qtype: str) -> None:
    said = alpha.ask(f"{text} {qtype}")
    assert (said.rcode, said.answer, len(said.authority)) == ("NOERROR", set(), 1)
    assert next(iter(said.authority)).startswith("@ 1 IN SOA ns hostmaster ")


@pytest.mark.parametrize(
    "text",
    [
        "web AAAA",
        "web MX",
        "web PTR",
        "_web._tcp A",
        "_web._tcp TXT",
        "alpha-8080._web._tcp A",
        "_list A",
        "_list SRV",
        "_services._dns-sd._udp SRV",
        "_mddns A",
        "ns TXT",
        "@ A",
        "@ SRV",
        "alpha-8080.web PTR",
        "web.prod._env AAAA",
        "_list.prod._env TXT",
    ],
)
def test_a_missing_type_is_nodata_with_soa(text: str) -> None:
    host = Host(ALPHA)
    host.advertise("web", 8080, {"env": "prod"})
    said = host.ask(text)
    assert (said.rcode, said.answer, len(said.authority)) == ("NOERROR", set(), 1)
    assert next(iter(said.authority)).startswith("@ 1 IN SOA ns hostmaster ")


@pytest.mark.parametrize(
    "text",
    [
        "nope",
        "leader.nope",
        "bravo-8080.web",
        "a.alpha-8080.web",
        "web.web",
        "_web",
        "_nope._tcp",
        "web._tcp",
        "a.b._tcp",
        "a._web._tcp",
        "x.alpha-8080._web._tcp",
        "_dns-sd._tcp",
        "_x._dns-sd._udp",
        "a._services._dns-sd._udp",
        "a._list",
        "a.ns",
        "a._mddns",
        "_nokey",
        "x._nokey",
        "nope._env",
        "nope.prod._env",
        "alpha-53-udp.dns.prod._env",
        "_prod._env",
        "prod",
        "env",
        "_",
        "_._tcp",
        "tcp",
    ],
)
def test_a_missing_name_is_nxdomain_with_the_apexs_soa(alpha: Host, text: str) -> None:
    said = alpha.ask(f"{text} SRV")
    assert (said.rcode, said.answer, len(said.authority)) == ("NXDOMAIN", set(), 1)
    assert next(iter(said.authority)).startswith("@ 1 IN SOA ns hostmaster ")


def test_tcp_exists_only_where_something_is_below_it() -> None:
    host = Host(ALPHA)
    assert host.ask("_tcp A").rcode == "NXDOMAIN"
    assert host.ask("_udp A").rcode == "NOERROR"  # _services._dns-sd._udp is always there
    host.advertise("web", 80)
    assert host.ask("_tcp A").rcode == "NOERROR"


def test_an_empty_registry_has_an_empty_list() -> None:
    said = Host(ALPHA).ask("_list PTR")
    assert (said.rcode, said.answer, said.additional) == ("NOERROR", set(), set())


def test_names_compare_without_ascii_case_and_print_as_given() -> None:
    host = Host(ALPHA)
    host.advertise("Web", 80, {"Env": "Prod"})
    assert host.ask("wEB SRV").answer == zone("wEB 5 IN SRV 10 10 80 alpha-80.Web")
    assert host.ask("ALPHA-80.web TXT").answer == zone(f'ALPHA-80.web 5 IN TXT "Env=Prod" "{OWN}"')
    # In a view the target ends as the question does: compression points at what was asked.
    assert {line.lower() for line in host.ask("web.PROD._ENV SRV").answer} == zone(
        "web.prod._env 5 in srv 10 10 80 alpha-80.web.prod._env"
    )


@pytest.mark.parametrize(
    ("service", "a_label"),
    [("bücher", "xn--bcher-kva"), ("Bücher", "xn--bcher-kva"), ("例え", "xn--r8jz45g"), ("straße", "xn--strae-oqa")],
)
def test_a_question_for_the_a_label_is_answered_as_the_name(service: str, a_label: str) -> None:
    host = Host(ALPHA)
    host.advertise(service, 80, {"env": "prod"})
    said = host.ask(f"{a_label} SRV")
    assert said.answer == zone(f"{a_label} 5 IN SRV 10 10 80 alpha-80.{a_label}")
    assert host.ask(f"alpha-80.{a_label} A").answer == zone(f"alpha-80.{a_label} 5 IN A 100.64.0.1")
    assert len(host.ask(f"_{a_label}._tcp SRV").answer) == 1
    assert len(host.ask(f"{a_label}.prod._env SRV").answer) == 1
    assert host.ask("xn--nope SRV").rcode == "NXDOMAIN"


@pytest.mark.parametrize(
    "question",
    [
        "{} SRV",
        "{} TXT",
        "_{}._tcp SRV",
        "_{}._tcp PTR",
        "leader.{} SRV",
        "alpha-80.{} SRV",
        "alpha-80._{}._tcp SRV",
        "_caf._tcp.{} SRV",
        "{}.prod._env SRV",
        "_{}._tcp.prod._env PTR",
        "leader.{}.prod._env SRV",
        "{}.xn--prf-ioa._stage SRV",
        "caf.xn--prf-ioa._stage SRV",
    ],
)
def test_a_question_in_a_labels_is_answered_in_a_labels_throughout(question: str) -> None:
    """A client that asks in A-labels refuses names that are not ASCII: c-ares, and so Node; HAProxy."""
    host = Host(ALPHA)
    host.advertise("Café", 80, {"env": "prod", "stage": "prüf"}, srv=["caf"])
    host.advertise("caf", 81, {"stage": "prüf"})
    said = host.ask(question.format("xn--caf-dma"))
    assert said.rcode == "NOERROR"
    assert said.answer
    told = [line for line in (*said.answer, *said.additional) if " TXT " not in line]
    assert not [line for line in told if "\\" in line]
    # Each target is a name that is answered, in the same letters.
    for line in said.answer:
        if " SRV " in line or " PTR " in line:
            target = line.split()[-1].removesuffix(".minidisc.")
            assert host.ask(f"{target} {'SRV' if ' PTR ' in line else 'A'}").answer


def test_a_question_in_letters_is_answered_in_letters() -> None:
    host = Host(ALPHA)
    host.advertise("café", 80, {"stage": "prüf"})
    assert host.ask("caf\\195\\169 SRV").answer == zone("caf\\195\\169 5 IN SRV 10 10 80 alpha-80.caf\\195\\169")


@pytest.mark.parametrize(
    ("names", "a_label"),
    [(["café", "CAFÉ"], "xn--caf-dma"), (["CAFÉ", "café"], "xn--caf-dma"), (["éss", "éß"], "xn--ss-9ia"),
     (["éß", "éss"], "xn--ss-9ia")],
)  # fmt: skip
def test_names_that_share_an_a_label_are_all_found(names: list[str], a_label: str) -> None:
    host = Host(ALPHA)
    for name in names:
        host.advertise(name, 80, {"name": name})
    host.advertise(names[0], 81)
    said = host.ask(f"{a_label} SRV")
    # What has one name in ASCII, and one endpoint, is one there.
    assert said.answer == zone(
        f"{a_label} 5 IN SRV 10 10 80 alpha-80.{a_label}\n{a_label} 5 IN SRV 10 10 81 alpha-81.{a_label}"
    )
    assert {line.split()[0] for line in said.additional} == {line.split()[-1] for line in said.answer}
    assert len(said.additional) == len(set(said.additional)) == 5
    assert len(host.ask(f"_{a_label}._tcp PTR").answer) == 2
    assert len(host.ask(f"alpha-80.{a_label} TXT").answer) == 2
    assert len(host.ask(f"alpha-80._{a_label}._tcp TXT").answer) == 2
    assert host.ask(f"alpha-80.{a_label} A").answer == zone(f"alpha-80.{a_label} 5 IN A 100.64.0.1")


@pytest.mark.parametrize(
    "service", ["a b", "a.b", 'a"b', "a\\b", "a$b", "日本" * 10, "a" * 62, "md", "minidisc", "list"]
)
def test_any_name_that_may_be_offered_is_found(service: str) -> None:
    host = Host(ALPHA)
    host.advertise(service, 80)
    wire = service.encode()
    escaped = "".join(f"\\{octet:03d}" for octet in wire)
    assert len(host.ask(f"{escaped} SRV").answer) == 1
    assert len(host.ask(f"_{escaped}._tcp SRV").answer) == 1


# Instance labels


def long(machine: str) -> Said:
    host = Host(peer(machine, "100.64.0.1"))
    host.advertise("web", 8080)
    return host.ask("web SRV")


@pytest.mark.parametrize(
    ("machine", "label"),
    [
        ("alpha", "alpha-8080"),
        ("Alpha.tail1234.ts.net.", "alpha-8080"),
        ("", "100-64-0-1-8080"),
        ("my box!", "my-box-8080"),
        ("日本", "100-64-0-1-8080"),
        ("a" * 58, "a" * 58 + "-8080"),
        ("a" * 59, "a" * 51 + "-111bb2-8080"),
        ("a" * 63, "a" * 51 + "-7d3e74-8080"),
    ],
)
def test_an_instance_label_is_machine_and_port_at_most_63_octets(machine: str, label: str) -> None:
    assert long(machine).answer == zone(f"web 5 IN SRV 10 10 8080 {label}.web")


def test_ipv6_stands_in_as_eight_groups_of_four_digits() -> None:
    host = Host(peer("", "fd7a::1"))
    host.advertise("web", 8080, protocol="udp")
    assert host.ask("web SRV").answer == zone(
        "web 5 IN SRV 10 10 8080 fd7a-0000-0000-0000-0000-0000-0000-0001-8080-udp.web"
    )


def test_where_two_nodes_share_a_name_their_addresses_stand_in_in_each_ones_own_zone() -> None:
    fleet = Fleet(ALPHA, peer("Alpha", "100.64.0.7"))
    fleet[ALPHA].advertise("web", 80)
    assert fleet[ALPHA].ask("web SRV").answer == zone("web 5 IN SRV 10 10 80 100-64-0-1-80.web")


def at(address: str, instance: str, **more: object) -> Service:
    service = Service("web", {}, Endpoint.of(address, 80), (address,), instance=instance)
    return replace(service, **more)  # type: ignore[arg-type]


def labels_in(*services: Service) -> dict[str, str]:
    return {each.endpoint.address: each.instance for each in Zone(APEX.wire, services).services()}


def test_two_services_told_under_one_label_both_get_their_address() -> None:
    assert labels_in(at("100.64.0.1", "alpha-80"), at("100.64.0.2", "ALPHA-80"), at("100.64.0.3", "charlie-80")) == {
        "100.64.0.1": "100-64-0-1-80",
        "100.64.0.2": "100-64-0-2-80",
        "100.64.0.3": "charlie-80",
    }


def test_nobody_can_take_the_label_that_anothers_address_makes() -> None:
    """A peer may call its instances what it likes; targets stay one for each instance."""
    assert labels_in(
        at("100.64.0.1", "alpha-80"),
        at("100.64.0.2", "alpha-80"),
        at("100.64.0.3", "100-64-0-1-80"),
        at("100.64.0.4", "100-64-0-3-80"),
    ) == {f"100.64.0.{n}": f"100-64-0-{n}-80" for n in (1, 2, 3, 4)}


@given(st.lists(st.sampled_from(["", "a", "100-64-0-1-80", "100-64-0-2-80", "100-64-0-3-80"]), max_size=5))
@settings(deadline=None, max_examples=60)
def test_whatever_labels_are_told_each_instance_has_one_of_its_own(told: list[str]) -> None:
    found = labels_in(*(at(f"100.64.0.{n}", label) for n, label in enumerate(told, 1)))
    assert len(set(found.values())) == len(told)


# Views


@pytest.fixture
def views() -> Host:
    host = Host(ALPHA)
    host.advertise("web", 1, {"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"})
    host.advertise("web", 2, {"a": "1"})
    host.advertise("dns", 53, {"a": "1", "B": "2"}, protocol="udp")
    host.advertise("ver", 9, {"v": "1.10.0", "Zone": "Eu West"})
    return host


def test_a_view_shows_only_the_services_with_its_label_and_its_targets_stay_inside(views: Host) -> None:
    said = views.ask("web.1._a SRV")
    assert said.answer == zone("""
        web.1._a 5 IN SRV 10 10 1 alpha-1.web.1._a
        web.1._a 5 IN SRV 10 10 2 alpha-2.web.1._a
    """)
    assert said.additional == zone(f"""
        alpha-1.web.1._a 5 IN TXT "a=1" "b=2" "c=3" "d=4" "e=5" "{OWN}"
        alpha-1.web.1._a 5 IN A 100.64.0.1
        alpha-2.web.1._a 5 IN TXT "a=1" "{OWN}"
        alpha-2.web.1._a 5 IN A 100.64.0.1
    """)
    assert views.ask("web.2._b SRV").answer == zone("web.2._b 5 IN SRV 10 10 1 alpha-1.web.2._b")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("web.1._a A", "web.1._a 5 IN A 100.64.0.1"),
        ("dns.1._a TXT", 'dns.1._a 5 IN TXT "B=2" "a=1"'),
        ("_dns._udp.1._a SRV", "_dns._udp.1._a 5 IN SRV 10 10 53 alpha-53-udp.dns.1._a"),
        ("_dns._udp.1._a PTR", "_dns._udp.1._a 5 IN PTR alpha-53-udp._dns._udp.1._a"),
        ("alpha-53-udp._dns._udp.1._a SRV", "alpha-53-udp._dns._udp.1._a 5 IN SRV 10 10 53 alpha-53-udp.dns.1._a"),
        ("alpha-1.web.1._a TXT", f'alpha-1.web.1._a 5 IN TXT "a=1" "b=2" "c=3" "d=4" "e=5" "{OWN}"'),
        ("_services._dns-sd._udp.2._b PTR", """
            _services._dns-sd._udp.2._b 5 IN PTR _dns._udp.2._b
            _services._dns-sd._udp.2._b 5 IN PTR _web._tcp.2._b"""),
        ("_list.2._b PTR", """
            _list.2._b 5 IN PTR alpha-1.web.2._b
            _list.2._b 5 IN PTR alpha-53-udp.dns.2._b"""),
    ],
)  # fmt: skip
def test_all_of_the_table_stands_below_a_view(views: Host, text: str, answer: str) -> None:
    assert views.ask(text).answer == zone(answer)


def test_views_chain_in_any_order_to_the_fourth(views: Host) -> None:
    pairs = ["1._a", "2._b", "3._c", "4._d"]
    for count in range(1, 5):
        for chain in permutations(pairs, count):
            suffix = ".".join(chain)
            ports = {line.split()[-2] for line in views.ask(f"web.{suffix} SRV").answer}
            assert ports == ({"1", "2"} if chain == ("1._a",) else {"1"}), suffix


@pytest.mark.parametrize("text", ["web.5._e.4._d.3._c.2._b.1._a", "5._e.4._d.3._c.2._b.1._a"])
def test_a_fifth_view_is_nxdomain(views: Host, text: str) -> None:
    assert views.ask(f"{text} SRV").rcode == "NXDOMAIN"


@pytest.mark.parametrize("text", ["web.1._a.1._a", "1._a.1._a", "_a.1._a", "web.1._A.2._b.1._a", "web.2._a.1._a"])
def test_a_key_twice_is_nxdomain(views: Host, text: str) -> None:
    assert views.ask(f"{text} SRV").rcode == "NXDOMAIN"


def test_keys_and_values_of_a_view_compare_without_case(views: Host) -> None:
    assert len(views.ask("ver.eU\\032wEST._ZONE SRV").answer) == 1
    assert len(views.ask("dns.2._b SRV").answer) == 1


def test_a_value_with_dots_stays_one_label(views: Host) -> None:
    assert views.ask(r"ver.1\.10\.0._v SRV").answer == zone(r"ver.1\.10\.0._v 5 IN SRV 10 10 9 alpha-9.ver.1\.10\.0._v")
    assert views.ask("ver.1.10.0._v SRV").rcode == "NXDOMAIN"


def test_the_apex_is_in_no_view(views: Host) -> None:
    for text in ("1._a SOA", "1._a NS"):
        assert (views.ask(text).rcode, views.ask(text).answer) == ("NOERROR", set())
    for text in ("ns.1._a A", "_mddns.1._a TXT"):
        assert views.ask(text).rcode == "NXDOMAIN"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("env", ""),
        ("env", "_prod"),
        ("env", "a" * 64),
        ("en_v", "prod"),
        ("en.v", "prod"),
        ("k" * 63, "prod"),
        ("tcp", "prod"),
        ("UDP", "prod"),
        ("dns-sd", "x"),
        ("List", "x"),
    ],
)
def test_other_pairs_have_no_view(key: str, value: str) -> None:
    assert view_pair(key, value) is None


@pytest.mark.parametrize("text", ["web._prod._env", "web.x._tcp", "web.x._list", "web.x._en_v", r"web.x._en\.v"])
def test_a_question_for_a_view_that_cannot_be_is_nxdomain(text: str) -> None:
    host = Host(ALPHA)
    host.advertise("web", 80, {"env": "_prod", "tcp": "x", "list": "x", "en_v": "x", "en.v": "x"})
    assert host.ask(f"{text} SRV").rcode == "NXDOMAIN"


@pytest.mark.parametrize(("key", "value"), [("k" * 62, "v" * 63), ("0", "-"), ("A-b", "\u00e9"), ("env", "a.b c")])
def test_pairs_up_to_the_limits_have_a_view(key: str, value: str) -> None:
    host = Host(ALPHA)
    host.advertise("web", 80, {key: value})
    octets = "".join(f"\\{octet:03d}" for octet in value.encode())
    assert len(host.ask(f"web.{octets}._{key} SRV").answer) == 1


def test_views_of_every_chain_share_one_bound() -> None:
    """A service of 64 labels has 64*63*62*61 views: whoever asks for them all must not fill our memory."""
    service = at("100.64.0.1", "alpha-80", labels={f"k{n}": "v" for n in range(20)})
    rendered = Zone(APEX.wire, [service])
    for first, second in permutations([b"_k%d" % n for n in range(20)], 2):
        assert rendered.node((b"web", b"v", first, b"v", second))
        assert len(rendered._views) <= MAX_VIEWS


def test_where_an_instances_names_would_be_too_long_for_dns_the_service_is_not_in_that_view() -> None:
    """What is left out costs nobody else, and every answer stays one that can be read."""
    host = Host(ALPHA)
    keys = [f"k{n}{'x' * 40}" for n in range(3)]
    for service in ("w" * 62, "v"):
        host.advertise(service, 80, dict.fromkeys(keys, "v" * 20))
    first, second, third = (f".{'v' * 20}._{key}" for key in keys)
    assert len(host.whole(f"_list{first} PTR").answer) == 2
    assert len(host.whole(f"_list{first}{second} PTR").answer) == 2
    assert len(host.whole(f"_list{first}{second}{third} PTR").answer) == 1


def test_the_merged_zone_of_three_hosts_is_what_they_offer_together() -> None:
    fleet = Fleet(ALPHA, BRAVO, CHARLIE)
    for each, port in ((ALPHA, 1), (BRAVO, 2), (CHARLIE, 3)):
        fleet[each].advertise("web", port, {"env": "prod"})
    assert fleet.ask(ALPHA, "web.prod._env SRV").answer == zone("""
        web.prod._env 5 IN SRV 10 10 1 alpha-1.web.prod._env
        web.prod._env 5 IN SRV 10 10 2 bravo-2.web.prod._env
        web.prod._env 5 IN SRV 10 10 3 charlie-3.web.prod._env
    """)


# Aliases, and what is held back


@pytest.fixture
def kv() -> Host:
    """`kv` at two ports, of which one has aliases, and over UDP with one of them."""
    host = Host(ALPHA)
    host.advertise("kv", 2379, {"env": "prod"}, srv=["etcd-client", "Etcd-Server"])
    host.advertise("kv", 2380)
    host.advertise("kv", 2381, protocol="udp", srv=["etcd-client"])
    return host


def test_an_alias_is_a_name_of_the_instances_that_have_it(kv: Host) -> None:
    said = kv.ask("_etcd-client._tcp.kv SRV")
    assert said.answer == zone("_etcd-client._tcp.kv 5 IN SRV 10 10 2379 alpha-2379.kv")
    assert said.additional == zone(f"""
        alpha-2379.kv 5 IN TXT "env=prod" "{OWN}" "md.srv=etcd-client,Etcd-Server"
        alpha-2379.kv 5 IN A 100.64.0.1
    """)


def test_an_alias_has_the_protocol_of_its_service(kv: Host) -> None:
    assert kv.ask("_etcd-client._udp.kv SRV").answer == zone(
        "_etcd-client._udp.kv 5 IN SRV 10 10 2381 alpha-2381-udp.kv"
    )
    assert kv.ask("_etcd-server._udp.kv SRV").rcode == "NXDOMAIN"


def test_an_alias_is_asked_for_in_any_case(kv: Host) -> None:
    assert len(kv.ask("_ETCD-server._TCP.KV SRV").answer) == 1


def test_an_alias_stands_in_views(kv: Host) -> None:
    assert kv.ask("_etcd-client._tcp.kv.prod._env SRV").answer == zone(
        "_etcd-client._tcp.kv.prod._env 5 IN SRV 10 10 2379 alpha-2379.kv.prod._env"
    )


@pytest.mark.parametrize(
    ("text", "rcode"),
    [
        ("_etcd-client._tcp SRV", "NXDOMAIN"),
        ("_kv._tcp.kv SRV", "NXDOMAIN"),
        ("x._etcd-client._tcp.kv SRV", "NXDOMAIN"),
        ("etcd-client._tcp.kv SRV", "NXDOMAIN"),
        ("_etcd-client._tcp.kv A", "NOERROR"),
        ("_tcp.kv SRV", "NOERROR"),
        ("_udp.kv SRV", "NOERROR"),
    ],
)
def test_an_alias_exists_where_it_was_declared_and_nowhere_else(kv: Host, text: str, rcode: str) -> None:
    said = kv.ask(text)
    assert (said.rcode, said.answer) == (rcode, set())


def test_without_aliases_there_is_nothing_below_a_name(alpha: Host) -> None:
    assert alpha.ask("_tcp.web SRV").rcode == "NXDOMAIN"


def test_the_longest_alias_of_the_longest_name_is_a_legal_name() -> None:
    host = Host(ALPHA, apex=Name.parse(f"{'a' * 60}.{'b' * 58}"))
    host.advertise("w" * 62, 80, srv=["b" * 62])
    owners = [owner for owner, _, _ in host.responder._render()[1].records()]
    assert 200 < max(map(len, owners)) <= 255
    assert any(owner.startswith(b"\x3f_") and b"\4_tcp" in owner for owner in owners)


def test_what_is_held_back_is_told_by_held_alone() -> None:
    host = Host(ALPHA)
    web = host.advertise("web", 8080, {"env": "prod"}, check="tcp")
    host.registry.checked(web, "tcp: 100.64.0.1:8080: Connection refused", SINCE)
    for text in ("web SRV", "alpha-8080.web SRV", "_web._tcp PTR", "prod._env SRV"):
        assert host.ask(text).rcode == "NXDOMAIN"
    assert host.ask("_list PTR").answer == set()
    said = host.ask("_held PTR")
    assert said.answer == zone("_held 5 IN PTR alpha-8080.web")
    assert said.additional == zone("""
        alpha-8080.web 5 IN SRV 10 10 8080 alpha-8080.web
        alpha-8080.web 5 IN TXT "md.held=tcp: 100.64.0.1:8080: Connection refused"
        alpha-8080.web 5 IN A 100.64.0.1
    """)


def test_held_exists_where_nothing_is_held_back(alpha: Host) -> None:
    said = alpha.ask("_held PTR")
    assert (said.rcode, said.answer) == ("NOERROR", set())


def test_what_is_held_back_fits_one_message() -> None:
    host = Host(ALPHA)
    for port in range(1, 1001):
        registration = host.advertise("w" * 62, port, {"k": "v" * 200}, check="tcp")
        registration.held = "x" * 200
    assert len(host.whole("_held PTR").answer) == MAX_HELD


# Leaders


@pytest.fixture
def three() -> Fleet:
    """`web` on three hosts, up one after the other: the last of them has the clock of 1970."""
    fleet = Fleet(ALPHA, BRAVO, CHARLIE)
    for each, since in ((ALPHA, SINCE + 9), (BRAVO, SINCE), (CHARLIE, 9)):
        fleet[each].registry.advertise(make(80, "web", {"host": each.name}), since)
    return fleet


def test_the_leader_is_an_instance_under_another_name(three: Fleet) -> None:
    said = three.ask(ALPHA, "leader.web SRV")
    assert said.answer == zone("leader.web 5 IN SRV 10 10 80 bravo-80.web")
    assert said.additional == zone(f"""
        bravo-80.web 5 IN TXT "host=bravo" "{OWN}"
        bravo-80.web 5 IN A 100.64.0.2
    """)
    assert three.ask(CHARLIE, "leader.web TXT").answer == zone(f'leader.web 5 IN TXT "host=bravo" "{OWN}"')
    assert three.ask(CHARLIE, "leader.WEB A").answer == zone("leader.WEB 5 IN A 100.64.0.2")
    assert three.ask(ALPHA, "leader.web AAAA").rcode == "NOERROR"


def test_every_host_names_the_same_leader(three: Fleet) -> None:
    said = {frozenset(three.ask(each, "leader.web SRV").answer) for each in (ALPHA, BRAVO, CHARLIE)}
    assert len(said) == 1


def test_a_view_has_a_leader_of_its_own(three: Fleet) -> None:
    view = "charlie._host"
    assert three.ask(ALPHA, f"leader.web.{view} SRV").answer == zone(
        f"leader.web.{view} 5 IN SRV 10 10 80 charlie-80.web.{view}"
    )


def test_a_host_alone_leads_by_itself(three: Fleet) -> None:
    assert three[CHARLIE].ask("leader.web SRV").answer == zone("leader.web 5 IN SRV 10 10 80 charlie-80.web")


def test_below_a_leader_there_is_nothing(three: Fleet) -> None:
    assert three.ask(ALPHA, "a.leader.web SRV").rcode == "NXDOMAIN"
    assert three.ask(ALPHA, "leader.nope SRV").rcode == "NXDOMAIN"


def test_no_transfer_has_a_leader(three: Fleet) -> None:
    assert not any(owner.startswith(b"\6leader") for owner, *_ in three[ALPHA].responder._render()[1].records())


@pytest.mark.parametrize("name", ["_held", "_mddns", "ns"])
def test_names_that_are_the_apexs_own_do_not_exist_in_a_view(name: str) -> None:
    host = Host(ALPHA)
    host.advertise("web", 80, {"env": "prod"})
    assert host.ask(f"{name} TXT").rcode == "NOERROR"
    assert host.ask(f"{name}.prod._env TXT").rcode == "NXDOMAIN"
