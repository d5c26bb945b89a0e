"""What md says on stderr, as text for people or as JSON for programs; -v tells of every change of state."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bed.process import Process, wait_until
from inside import md_inside
from program import World

from mddns.cli.parts.logs import show_logs
from mddns.cli.parts.terminal import talk, talk_json


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path) as world:
        yield world


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    log = logging.getLogger("mddns")
    handlers, level, propagate = list(log.handlers), log.level, log.propagate
    yield
    log.handlers[:], log.level, log.propagate = handlers, level, propagate
    talk_json(False)


def said(process: Process) -> list[dict[str, Any]]:
    """Every line of stderr, which must be JSON."""
    return [json.loads(line) for line in process.stderr.splitlines()]


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_as_json_every_line_is_an_object(world: World, how: str) -> None:
    flags, env = (["--log-format", "json"], {}) if how == "flag" else ([], {"MDDNS_LOG_FORMAT": "json"})
    process = world.start("advertise", "-v", *flags, "web", ":80", node="alpha", env=env)
    process.wait_for("or on any machine")
    lines = said(process)
    assert all({"ts", "level", "message"} <= line.keys() for line in lines)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"]) for line in lines)
    assert lines[0] == {
        "ts": lines[0]["ts"],
        "level": "info",
        "event": "holder",
        "message": "this process answers for the host",
    }
    assert process.stdout.startswith("web ")  # data is data


def test_errors_are_json_too(world: World) -> None:
    done = world.md("advertise", "--wait", "0", "web", ":80", env={"MDDNS_NETWORK": None, "MDDNS_LOG_FORMAT": "json"})
    (line,) = [json.loads(each) for each in done.stderr.splitlines()]
    assert (done.returncode, line["level"]) == (3, "error")
    assert "tailscaled is not running" in line["message"]


def test_another_format_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = md_inside(monkeypatch, capsys)("list", "--log-format", "xml")
    assert (code, err) == (2, "md: log-format 'xml': must be text or json\n")


def test_changes_of_state_are_told_with_v_alone_and_once_each(world: World) -> None:
    quiet = world.start("advertise", "web", ":80", node="alpha")
    quiet.wait_for("advertised")
    tenant = world.start("advertise", "-v", "db", ":81", node="alpha")
    tenant.wait_for("md: another process answers for the host")
    assert "answers for the host" not in quiet.stderr
    quiet.kill()
    tenant.wait_for("md: this process answers for the host from now on")
    assert tenant.stderr.count("answers for the host") == 2


def test_a_reload_is_told_in_the_same_format(world: World, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("services: [{name: web, address: ':80'}]\n")
    process = world.start("advertise", "--log-format", "json", "s.yaml", node="alpha")
    process.wait_for("or on any machine")
    (tmp_path / "s.yaml").write_text("services: [{name: db, address: ':5432'}]\n")
    assert wait_until(lambda: "added: db :5432" in process.stderr)
    assert {line["message"] for line in said(process)} >= {"withdrawn: web :80", "added: db :5432"}


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_nothing_from_the_network_steers_a_terminal(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    talk_json(as_json)
    show_logs(1)
    logging.getLogger("mddns").info("silent: %s", "\x1b[31mred\n\u202e\udcff")
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.rstrip("\n").isprintable()
    if as_json:
        assert json.loads(err)["message"] == "silent: \x1b[31mred\n\u202e\\udcff"


def test_an_exception_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_logs(0)
    try:
        raise ValueError("x")
    except ValueError:
        logging.getLogger("mddns").exception("it went wrong")
    assert capsys.readouterr().err.count("\n") == 1


def test_where_nobody_reads_stderr_what_we_do_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError

    silenced = []
    monkeypatch.setattr("mddns.cli.parts.terminal.click.echo", broken)
    monkeypatch.setattr("mddns.cli.parts.terminal.silence", silenced.append)
    talk("hello")
    assert silenced == [2]
