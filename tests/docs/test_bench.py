"""The benchmark measures what it says, and the documents say what it measured. Nothing here is timed."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import xml.etree.ElementTree
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import dns.edns
import dns.message
import dns.rdatatype
import dns.zone
import pytest
from docblocks import ROOT

import bench
from bench import __main__ as program
from bench import corpus, documents, fanout, generator, mirror, peers, plots, targets
from bench.build import built
from bench.load import generator as generator_command
from bench.load import load

LATEST: Final = bench.RESULTS / "latest.json"
RESULTS: Final[dict[str, Any]] = json.loads(LATEST.read_text("utf-8"))
# The one in Python works everywhere; the one that is used is it, too, where there is no C compiler.
GENERATORS: Final = {"python": [sys.executable, "-m", "bench.generator"], "used": generator_command()}


# What responders are asked


@pytest.mark.parametrize("workload", corpus.WORKLOADS)
def test_questions_are_good_dns(workload: str) -> None:
    questions = corpus.WORKLOADS[workload][1](corpus.APEX)
    zone = dns.zone.from_text(corpus.zone_file("127.0.0.1"), corpus.APEX)
    assert questions
    for question in questions[:2000]:
        message = dns.message.from_wire(question.octets)
        asked = message.question[0]
        found = zone.get_rrset(asked.name.relativize(zone.origin), asked.rdtype)
        assert (question.rcode == corpus.NXDOMAIN) == (found is None)
        assert question.ancount == (len(found) if found else 0)
        assert (message.edns == 0) == question.opt
        cookies = [option for option in message.options if option.otype == dns.edns.OptionType.COOKIE]
        assert len(cookies) == (1 if question.cookie else 0)
        if question.cookie:
            assert len(question.octets) == question.cookie + 8


def test_mixed_questions_are_half_with_cookies_and_a_tenth_misses() -> None:
    questions = corpus.WORKLOADS["mixed"][1](corpus.APEX)
    assert sum(bool(each.cookie) for each in questions) == len(questions) // 2
    assert 0.09 < sum(each.rcode == corpus.NXDOMAIN for each in questions) / len(questions) < 0.11
    names = {each.octets[12 : each.end - 4] for each in questions if each.rcode == corpus.NOERROR}
    assert len(names) == corpus.SERVICES


def test_packed_questions_are_read_back() -> None:
    questions = corpus.WORKLOADS["mixed"][1](corpus.APEX)
    assert corpus.unpack(corpus.pack(questions)) == questions


# What counts as right

QUESTION: Final = corpus.question("service-007.minidisc", corpus.SRV, cookie=True)


def answered(query: bytes) -> bytes:
    """The least that is a right answer: the question, as many answers as are due, an OPT."""
    return query[:2] + b"\x84\x80\x00\x01\x00\x01\x00\x00\x00\x01" + query[12:]


def changed(at: int, octet: int) -> Callable[[bytes], bytes]:
    """A right answer with one octet wrong."""
    return lambda query: answered(query)[:at] + bytes((octet,)) + answered(query)[at + 1 :]


WRONG: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "echo": lambda query: query,
    "truncated": changed(2, 0x86),
    "other opcode": changed(2, 0xA4),
    "other rcode": changed(3, 0x83),
    "no question": changed(5, 0),
    "no answer": changed(7, 0),
    "no OPT": changed(11, 0),
    "other question": changed(15, 0x58),
    "short": lambda query: answered(query)[:12],
}


@contextmanager
def responder(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """A responder on 127.0.0.1; gives its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                query, source = sock.recvfrom(4096)
                if not query:
                    return
                sock.sendto(answer(query), source)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
                ending.sendto(b"", sock.getsockname())
            thread.join()


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions"
    path.write_bytes(corpus.pack([QUESTION]))
    return path


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("how", [{"window": 4}, {"rate": 200.0}], ids=["window", "rate"])
def test_right_answers_are_counted(name: str, how: dict[str, Any], questions: Path) -> None:
    with responder(answered) as port:
        told = load("127.0.0.1", port, questions, 0.1, command=GENERATORS[name], **how)
    assert told.sent
    assert (told.received, told.bad, told.lost) == (told.sent, 0, 0)
    assert told.mean_octets == len(QUESTION.octets)
    assert 0 < told.p50_us <= told.p99_us <= told.p999_us
    assert told.cpu_seconds > 0


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("kind", WRONG)
def test_wrong_answers_are_not_counted(name: str, kind: str, questions: Path) -> None:
    with responder(WRONG[kind]) as port:
        told = load("127.0.0.1", port, questions, 0.02, window=2, command=GENERATORS[name])
    assert told.bad
    assert not told.received


@pytest.mark.parametrize("name", GENERATORS)
def test_the_answer_to_another_id_is_wrong(name: str, questions: Path) -> None:
    with responder(lambda query: bytes((query[0] ^ 0x80, query[1])) + answered(query)[2:]) as port:
        told = load("127.0.0.1", port, questions, 0.02, window=1, command=GENERATORS[name])
    assert told.bad
    assert told.lost
    assert not told.received


@pytest.mark.parametrize("name", GENERATORS)
def test_an_echo_is_compared_to_the_octet(name: str, questions: Path) -> None:
    with responder(lambda query: query) as port:
        told = load("127.0.0.1", port, questions, 0.02, window=2, echo=True, command=GENERATORS[name])
    assert told.received == told.sent
    with responder(lambda query: query[:-1] + bytes((query[-1] ^ 1,))) as port:
        told = load("127.0.0.1", port, questions, 0.02, window=2, echo=True, command=GENERATORS[name])
    assert told.bad
    assert not told.received


@pytest.mark.parametrize("name", GENERATORS)
def test_each_cookie_is_another(name: str, questions: Path) -> None:
    seen: list[bytes] = []
    with responder(lambda query: (seen.append(query), answered(query))[1]) as port:
        load("127.0.0.1", port, questions, 0.05, window=2, command=GENERATORS[name])
    # The generator may have ended before its last questions were read.
    assert len(seen) > 10
    assert len({query[QUESTION.cookie :] for query in seen}) == len(seen)
    assert len({query[:2] for query in seen}) > len(seen) // 2


def test_python_judges_as_c_does() -> None:
    asked = b"\x12\x34" + QUESTION.octets[2:]
    assert generator.right(QUESTION, asked, answered(asked), echo=False)
    for kind, wrong in WRONG.items():
        assert not generator.right(QUESTION, asked, wrong(asked), echo=False), kind


# Crowds


@pytest.mark.parametrize("kind", peers.KINDS)
def test_crowds_are_as_described(kind: str) -> None:
    crowd = peers.crowd(kind, 200)
    assert len(set(crowd.asked)) == len(set(crowd.live)) == 200
    answers = dict(unpacked(crowd.packed))
    assert all(answers[address] for address in crowd.live)
    talking = [address for address in crowd.asked if answers.get(address)]
    assert len(talking) == crowd.answering == (180 if kind in ("refusing", "silent") else 200)
    assert sum(address not in answers for address in crowd.asked) == (20 if kind == "refusing" else 0)
    messages = [dns.message.from_wire(answers[address]) for address in talking]
    assert sum(bool(message.answer) for message in messages) == crowd.holders
    different = {answers[address] for address in talking}
    assert len(different) == (1 + crowd.holders if kind == "alike" else len(talking))


def unpacked(packed: bytes) -> Iterator[tuple[str, bytes]]:
    at = 4
    while at < len(packed):
        length = int.from_bytes(packed[at + 4 : at + 6], "little")
        yield socket.inet_ntoa(packed[at : at + 4]), packed[at + 6 : at + 6 + length]
        at += 6 + length


@pytest.mark.parametrize("kind", ["differ", "refusing"])
def test_every_answer_of_a_crowd_is_found(kind: str) -> None:
    if built("peers") is None:
        assert fanout.measure(1) == {"absent": "no C compiler: run bench/setup"}
        return
    scene = fanout.scene(kind, 20, 1, free_port())
    assert scene["answered"] == scene["answering"]
    assert scene["found"] == [scene["holders"]]
    assert set(scene) == set(RESULTS["fanout"]["kinds"][kind]["1000"])


def test_peers_of_a_mirror_tell_what_they_offer() -> None:
    people = peers.listed(3)
    for number, (address, octets) in enumerate(unpacked(people.packed)):
        message = dns.message.from_wire(octets)
        assert address == people.addresses[number]
        assert str(message.question[0].name) == "_list.minidisc."
        name = "web" if number == 0 else f"other-{number}"
        assert [str(record) for rrset in message.answer for record in rrset] == [f"peer{number}-8080.{name}.minidisc."]
        assert {rrset.rdtype.name for rrset in message.additional} == {"SRV", "A", "TXT"}


def test_a_mirror_is_measured_when_it_is_whole() -> None:
    told = mirror.measure(1, (10, 20), free_port())
    if built("peers") is None:
        assert told == {"absent": "no C compiler: run bench/setup"}
        return
    assert told["peers"].keys() == {"10", "20"}
    assert told["peers"]["10"]["of_10"] == 1.0
    assert set(told["peers"]["20"]) == {"found_us", "missing_us", "of_10", "missing_of_10"}


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# Results


def test_results_are_of_a_whole_run() -> None:
    assert RESULTS["mode"] == "full"
    assert {"responder", "fanout", "commandline", "footprint"} <= RESULTS.keys()
    assert {"cpu", "cores", "system", "python"} <= RESULTS["machine"].keys()
    assert RESULTS["responder"]["versions"].keys() >= {"echo", "mddns"}
    assert RESULTS["responder"]["workloads"].keys() == corpus.WORKLOADS.keys()
    assert RESULTS["fanout"]["kinds"].keys() == peers.KINDS.keys()


def test_results_are_of_right_answers() -> None:
    for rows in RESULTS["responder"]["workloads"].values():
        for name, row in rows.items():
            assert row["wrong"] == 0, name
    for scenes in RESULTS["fanout"]["kinds"].values():
        for scene in scenes.values():
            if isinstance(scene, dict):
                assert scene["found"] == [scene["holders"]]


def test_results_tell_of_no_place() -> None:
    text = LATEST.read_text("utf-8")
    assert not re.search(r"/(home|root|work|tmp|usr|Users|var)\b", text)
    assert socket.gethostname() not in re.findall(r'"([^"]*)"', text)


def test_the_table_is_of_these_results() -> None:
    def measured(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Without what is measured since that run."""
        return [row for row in rows if row["value"] is not None]

    judged = targets.judged(RESULTS)
    assert [row["work"] for row in RESULTS["targets"]] == [row["work"] for row in judged]
    assert measured(RESULTS["targets"]) == measured(judged)


def test_a_target_is_met_at_its_bound() -> None:
    least = targets.Target("work", "a.b", "≥", 0.5, "×")
    most = targets.Target("work", "a.b", "≤", 0.5, "×")
    assert [least.verdict({"a": {"b": value}}) for value in (0.4, 0.5, 0.6)] == ["missed", "met", "met"]
    assert [most.verdict({"a": {"b": value}}) for value in (0.4, 0.5, 0.6)] == ["met", "met", "missed"]
    assert least.verdict({}) == "not measured"
    assert targets.Target("work", "", "≥", 0.5, "×").verdict({}) == "not built yet"


@pytest.mark.parametrize("picture", ["rates", "fanout"])
def test_pictures_are_of_these_results(picture: str) -> None:
    drawn = {"rates": plots.rates, "fanout": plots.fanout}[picture](RESULTS)
    xml.etree.ElementTree.fromstring(drawn)
    assert (bench.RESULTS / f"latest-{picture}.svg").read_text("utf-8") == drawn


# Documents

CLAIM: Final = re.compile(r"\d\s*(µs\b|qps\b|queries (per|a) second)|\d\s*(×|x\b|times|%|ms\b).*\b(faster|slower)\b")


def wrong_figures(text: str, results: Mapping[str, Any]) -> list[str]:
    """What is said of speed that the results do not say; a figure's own decimals are how exact it has to be."""
    wrong = []
    for number, line in enumerate(text.splitlines(), 1):
        mark = documents.MARK.search(line)
        if mark is None:
            if CLAIM.search(line):
                wrong.append(f"{number}: no <!-- bench: KEY --> behind: {line.strip()}")
            continue
        figures, keys = documents.FIGURE.findall(line[: mark.start()]), mark[1].split()
        if len(figures) != len(keys):
            wrong.append(f"{number}: {len(figures)} figures, {len(keys)} keys")
            continue
        for (figure, unit), key in zip(figures, keys, strict=True):
            value = documents.measured(results, key, unit)
            if value is None:
                wrong.append(f"{number}: there is no {key}")
            elif float(figure.replace(",", "")) != round(value, documents.decimals(figure)):
                wrong.append(f"{number}: {figure} {unit}, but {key} is {value:g}")
    return wrong


@pytest.mark.parametrize("path", documents.DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_figures_in_documents_are_measured(path: Path) -> None:
    assert wrong_figures(path.read_text("utf-8"), RESULTS) == []


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("It answers at 0.93 × the echo. <!-- bench: a.ratio -->", True),
        ("It answers at 0.9 × the echo. <!-- bench: a.ratio -->", True),
        ("It answers at 93 % of the echo. <!-- bench: a.ratio -->", True),
        ("| 0.931 x | 12,345 queries | <!-- bench: a.ratio a.rate --> |", True),
        ("It answers at 0.94 × the echo. <!-- bench: a.ratio -->", False),
        ("It answers at 0.93 × the echo. <!-- bench: a.other -->", False),
        ("It answers at 0.93 × the echo, in 3 µs. <!-- bench: a.ratio -->", False),
        ("It is 45 times faster.", False),
        ("It answers 12,345 queries per second.", False),
        ("Port 28004, TTL 5 s, at most 300 ms.", True),
    ],
)
def test_a_figure_is_right_to_its_last_digit(line: str, right: bool) -> None:
    results = {"a": {"ratio": 0.931, "rate": 12345}}
    assert (wrong_figures(line, results) == []) is right


def scaled(results: Any, by: float) -> Any:
    """Another run: every number is another."""
    if isinstance(results, dict):
        return {key: scaled(value, by) for key, value in results.items()}
    if isinstance(results, list):
        return [scaled(value, by) for value in results]
    return results * by if isinstance(results, float) else results


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of what a run may write to."""
    (tmp_path / "README.md").write_text((ROOT / "README.md").read_text("utf-8"), "utf-8")
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    monkeypatch.setattr(documents, "DOCUMENTS", (tmp_path / "README.md",))
    monkeypatch.setattr(program, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(program, "WORK", tmp_path / "work")
    monkeypatch.setattr(program, "measure", lambda *how: scaled(RESULTS, 1.37))
    return tmp_path


def test_a_run_writes_to_its_work_folder_alone(copies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (copies / "README.md").read_bytes()
    assert program.main([]) == 0
    assert "make bench ARGS=--publish" in capsys.readouterr().out
    assert json.loads((copies / "work" / "latest.json").read_text("utf-8")) == scaled(RESULTS, 1.37)
    assert not (copies / "results").exists()
    assert (copies / "README.md").read_bytes() == before


def test_a_run_that_is_published_writes_results_and_figures_that_agree(copies: Path) -> None:
    before = (copies / "README.md").read_text("utf-8")
    assert program.main(["--publish"]) == 0
    results = json.loads((copies / "results" / "latest.json").read_text("utf-8"))
    after = (copies / "README.md").read_text("utf-8")
    assert after != before
    assert (wrong_figures(before, results) != [], wrong_figures(after, results)) == (True, [])
    assert {path.name for path in (copies / "results").iterdir()} == {path.name for path in bench.RESULTS.iterdir()}


def test_a_run_without_a_figure_of_the_documents_is_not_published(
    copies: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "measure", lambda *how: {**RESULTS, "mirror": {"absent": "no C compiler"}})
    assert program.main(["--publish"]) == 1
    assert "Not published: mirror.peers.5000.found_us" in capsys.readouterr().out
    assert not (copies / "results").exists()


@pytest.mark.parametrize("more", ["--quick", "--only=mirror", "--out=elsewhere"])
def test_a_part_is_not_published(more: str) -> None:
    with pytest.raises(SystemExit) as caught:
        program.main(["--publish", more])
    assert caught.value.code == 2


def test_a_figure_stays_as_exact_as_it_was() -> None:
    line = "| 1,234 µs, 0.5 × and 7 % | <!-- bench: a.us a.ratio a.part --> |\n"
    results = {"a": {"us": 56789.4, "ratio": 1.25, "part": 0.04}}
    assert documents.rewritten(line + "3 ms\n", results) == (
        "| 56,789 µs, 1.2 × and 4 % | <!-- bench: a.us a.ratio a.part --> |\n3 ms\n"
    )
