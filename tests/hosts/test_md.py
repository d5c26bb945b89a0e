"""`md` between hosts, each with a tailscaled of its own: what a person at a terminal sees."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator

import pytest
from bed.hosts import Bed
from bed.tailnet import Node, mullvad, phone, television
from conftest import MakeBed, Measured


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """Four hosts of every kind of address, and what else a tailnet has: none of it disturbs."""
    others = [phone(), television(), mullvad(), Node("asleep", online=False), Node("guest", shared_in=True)]
    nodes = ["alpha", "bravo", Node("four", families=(4,), tags=("tag:db",)), Node("six", families=(6,))]
    bed = make_module_bed(nodes if _has_six() else nodes[:3], others)
    bed.host("alpha").start(["md", "advertise", "web", ":8080", "env=prod"]).wait_for("advertised")
    bed.host("four").start(["md", "advertise", "web", ":8081", "env=dev"]).wait_for("advertised")
    if _has_six():
        bed.host("six").start(["md", "advertise", "web", ":8082", "env=prod"]).wait_for("advertised")
    return bed


def _has_six() -> bool:
    from bed import netns

    return netns.why_not() is None


@pytest.mark.quick
def test_lookup_shows_all_hosts_of_a_name(bed: Bed) -> None:
    done = bed.host("bravo").run(["md", "lookup", "web"])
    expected = [("web", f"{bed.host('alpha').ipv4}:8080", "env=prod", "alpha")]
    expected += [("web", f"{bed.host('four').ipv4}:8081", "env=dev", "four")]
    if _has_six():
        expected += [("web", f"[{bed.host('six').ipv6}]:8082", "env=prod", "six")]
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["NAME", "ADDRESS", "LABELS", "HOST"]
    assert [tuple(row.split()) for row in rows] == expected
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.quick
def test_labels_narrow_a_lookup(bed: Bed) -> None:
    done = bed.host("bravo").run(["md", "lookup", "web", "env=dev", "-o", "name"])
    assert done.stdout == f"{bed.host('four').ipv4}:8081\n"


def test_labels_compare_exactly(bed: Bed) -> None:
    assert bed.host("bravo").run(["md", "lookup", "web", "env=DEV"]).returncode == 1


@pytest.mark.quick
def test_a_name_is_the_same_in_any_case(bed: Bed) -> None:
    assert bed.host("bravo").run(["md", "find", "WEB", "env=dev"]).stdout == f"{bed.host('four').ipv4}:8081\n"


@pytest.mark.quick
def test_find_prints_one_endpoint(bed: Bed) -> None:
    done = bed.host("bravo").run(["md", "find", "web", "env=dev"])
    assert (done.returncode, done.stdout) == (0, f"{bed.host('four').ipv4}:8081\n")


@pytest.mark.quick
def test_find_of_nothing_says_so_and_exits_1(bed: Bed) -> None:
    done = bed.host("bravo").run(["md", "find", "nope", "a=b"])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "md: no service 'nope' with a=b was found\n"


@pytest.mark.quick
def test_a_host_with_a_registry_answers_md_for_the_whole_network(bed: Bed) -> None:
    on_holder = bed.host("alpha").run(["md", "lookup", "web", "-o", "json"])
    elsewhere = bed.host("bravo").run(["md", "lookup", "web", "-o", "json"])

    def told(text: str) -> list[dict[str, object]]:
        return [{key: value for key, value in entry.items() if key != "rttMs"} for entry in json.loads(text)]

    assert told(on_holder.stdout) == told(elsewhere.stdout)


@pytest.mark.quick
def test_json_tells_whose_service_it_is(bed: Bed) -> None:
    (found,) = json.loads(bed.host("bravo").run(["md", "lookup", "web", "env=dev", "-o", "json"]).stdout)
    four = bed.host("four")
    assert 0 <= found.pop("rttMs") < 1000
    assert found.pop("since") > 1_700_000_000_000
    assert found == {
        "name": "web", "labels": {"env": "dev"}, "addrPort": f"{four.ipv4}:8081", "addresses": [four.ipv4],
        "protocol": "tcp", "priority": 10, "weight": 10, "host": "four", "owner": None, "tags": ["tag:db"],
        "via": f"{four.ipv4}:28004", "network": "tailscale", "remote": False,
    }  # fmt: skip


@pytest.mark.quick
def test_query_shows_which_peer_says_what(bed: Bed) -> None:
    done = bed.host("bravo").run(["md", "query", "web", "SRV", "-o", "json"])
    said = {entry["peer"]: entry for entry in json.loads(done.stdout)}
    assert said["alpha"]["answer"] == ["web.minidisc. 5 IN SRV 10 10 8080 alpha-8080.web.minidisc."]
    assert said["bravo"]["outcome"] == "refused"
    # Nobody asks phones, televisions, exit nodes and other people's machines.
    assert set(said) <= {"alpha", "bravo", "four", "six", "asleep"}


@pytest.mark.quick
def test_what_was_advertised_is_withdrawn_by_sigterm_with_exit_0(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    process = bed.host("alpha").start(["md", "advertise", "web", ":8080"])
    process.wait_for("advertised")
    assert bed.host("bravo").run(["md", "find", "web"]).returncode == 0
    process.terminate()
    assert process.wait() == 0
    assert bed.host("bravo").run(["md", "find", "web"]).returncode == 1


def test_a_remote_service_is_kept_and_marked(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    bed.host("alpha").start(["md", "advertise", "db", "10.1.2.3:5432"]).wait_for("advertised")
    (found,) = json.loads(bed.host("bravo").run(["md", "lookup", "db", "-o", "json"]).stdout)
    assert (found["addrPort"], found["remote"], found["host"]) == ("10.1.2.3:5432", True, "alpha")


def test_an_empty_network_is_no_error_and_has_a_hint(make_bed: MakeBed) -> None:
    done = make_bed(["alpha", "bravo"]).host("alpha").run(["md", "list"])
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "md: no services; 'md advertise NAME :PORT' offers one\n"


def test_an_ipv6_socket_is_offered_there_too_and_an_ipv4_one_is_not(make_bed: MakeBed) -> None:
    if not _has_six():
        pytest.skip("loopback beds have no IPv6")
    bed = make_bed(["alpha", "bravo"])
    alpha = bed.host("alpha")
    with alpha.socket_tcp(8080), alpha.socket_tcp(8081), alpha.socket_tcp(8081, family=6):
        services = "services: [{name: four, address: ':8080'}, {name: both, address: ':8081'}]"
        (alpha.directory / "s.yaml").write_text(services)
        alpha.start(["md", "advertise", "s.yaml"]).wait_for("advertised")
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            found = {
                s["name"]: s["addresses"]
                for s in json.loads(bed.host("bravo").run(["md", "list", "-o", "json"]).stdout)
            }
            if len(found.get("both", ())) == 2:
                break
        assert found == {"four": [alpha.ipv4], "both": [alpha.ipv4, alpha.ipv6]}


@pytest.mark.namespaces
def test_50_peers_of_which_5_drop_everything(make_bed: MakeBed, measured: Measured) -> None:
    """First lookup under 600 ms, second under 150 ms (medians), and nothing live is missed."""
    names = [f"host{number}" for number in range(50)]
    firsts: list[float] = []
    seconds: list[float] = []
    bed = make_bed([*names, "asker"])
    for name in names[5::9]:
        bed.host(name).start(["md", "advertise", "web", ":8080"]).wait_for("advertised")
    for name in names[:5]:
        bed.drop(name)
    asker = bed.host("asker")
    live = {f"{bed.host(name).ipv4}:8080" for name in names[5::9]}
    for _ in range(5):
        for taken in (firsts, seconds):
            if taken is firsts:
                for file in asker.directory.rglob("peers.json"):
                    file.unlink()
            begun = time.perf_counter()
            done = asker.run(["md", "lookup", "web", "-o", "name"])
            taken.append(time.perf_counter() - begun)
            assert set(done.stdout.split()) == live, done
    first, second = (statistics.median(taken) * 1000 for taken in (firsts, seconds))
    measured(f"50 peers, 5 silent: first lookup {first:.0f} ms, second {second:.0f} ms (medians of 5)")


@pytest.mark.namespaces
def test_a_registry_that_falls_silent_is_named_and_waited_for(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo", "asker"])
    for name in ("alpha", "bravo"):
        bed.host(name).start(["md", "advertise", "web", ":80"]).wait_for("advertised")
    asker = bed.host("asker")
    assert len(asker.run(["md", "lookup", "web"]).stdout.splitlines()) == 3
    bed.drop("bravo")
    done = asker.run(["md", "lookup", "web", "-o", "name"])
    assert done.stdout == f"{bed.host('alpha').ipv4}:80\n"
    assert done.stderr == "md: 1 of 2 peers was silent: bravo\n"
    assert done.returncode == 0
    assert asker.run(["md", "lookup", "web", "--strict"]).returncode == 4


@pytest.mark.namespaces
def test_when_every_known_registry_is_silent_the_network_could_not_be_asked(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "asker"])
    bed.host("alpha").start(["md", "advertise", "web", ":80"]).wait_for("advertised")
    assert bed.host("asker").run(["md", "find", "web"]).returncode == 0
    bed.drop("alpha")
    done = bed.host("asker").run(["md", "find", "web"])
    assert done.returncode == 3, done
    assert "1 of 1 peer was silent: alpha" in done.stderr


@pytest.mark.namespaces
def test_a_query_that_nobody_answers_or_refuses_could_not_be_asked(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha", "bravo"])
    for name in ("alpha", "bravo"):
        bed.drop(name)
    done = bed.host("alpha").run(["md", "query", "web", "--timeout", "0.2"])
    assert done.returncode == 3
    assert "none of 2 peers answered" in done.stderr


def test_refusal_truncation_and_silence_in_repeated_rounds(make_bed: MakeBed) -> None:
    """Kernels ration ICMP errors: 20 rounds in a row find the same, one peer refusing, one TC, one silent."""
    bed = make_bed(["many", "refuses", "silent", "asker"])
    many = bed.host("many")
    text = "services:\n" + "".join(
        f'  - {{name: web, address: ":{n}", labels: {{n: "{n}"}}}}\n' for n in range(1001, 1061)
    )
    (many.directory / "many.yaml").write_text(text)
    many.start(["md", "advertise", "many.yaml"]).wait_for("advertised")
    bed.drop("silent")
    rounds = [bed.host("asker").run(["md", "lookup", "web", "-o", "name"]).stdout.split() for _ in range(20)]
    assert all(len(found) == 60 for found in rounds), [len(found) for found in rounds]


MESSAGES = {
    "stopped": "run 'tailscale up'",
    "needs-login": "log in",
    "starting": "try again in a moment",
    "no-state": "try again in a moment",
    "forbidden": "tailscale set --operator",
    "cut": "sent an incomplete response",
    "garbage": "try again",
    "not-found": "HTTP 404",
}


@pytest.mark.parametrize("mode", MESSAGES)
@pytest.mark.parametrize("command", [["list"], ["advertise", "web", ":80", "--wait", "0"]], ids=["list", "advertise"])
def test_what_is_wrong_with_tailscaled_is_said_with_its_remedy(
    make_bed: MakeBed, mode: str, command: list[str]
) -> None:
    bed = make_bed(["alpha"])
    bed.host("alpha").tailscaled.mode = mode
    done = bed.host("alpha").run(["md", *command])
    assert (done.returncode, done.stdout) == (3, "")
    assert MESSAGES[mode] in done.stderr
    assert "Traceback" not in done.stderr


def test_a_slow_tailscaled_is_waited_for(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha"])
    bed.host("alpha").tailscaled.mode = "slow"
    bed.host("alpha").tailscaled.slow_seconds = 0.5
    assert bed.host("alpha").run(["md", "list"]).returncode == 0


def test_a_silent_tailscaled_is_given_up(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha"])
    bed.host("alpha").tailscaled.mode = "silent"
    done = bed.host("alpha").run(["md", "list"])
    assert done.returncode == 3
    assert "did not answer within 2 s" in done.stderr


def test_no_tailscaled_at_all(make_bed: MakeBed) -> None:
    bed = make_bed(["alpha"])
    done = bed.host("alpha").run(["md", "list"], env={"TS_SOCKET": "/nowhere/tailscaled.sock"})
    assert done.returncode == 3
    assert "there is no socket /nowhere/tailscaled.sock" in done.stderr
    assert "--network static:" in done.stderr


def test_a_tailnet_without_peers(make_bed: MakeBed) -> None:
    """`Peer` is null there."""
    bed = make_bed(["alpha"])
    bed.host("alpha").start(["md", "advertise", "web", ":80"]).wait_for("advertised")
    assert bed.host("alpha").run(["md", "find", "web"]).stdout == f"{bed.host('alpha').ipv4}:80\n"
