"""The serial that is remembered from one run to the next: a primary never goes back, wherever the clock stands."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from played import APEX
from program import World, free_ports

import mddns
import mddns.files.serial_file as serials_module
from mddns.base.names import Name
from mddns.files.serial_file import AHEAD, Serials, state_file
from mddns.zone.apex import is_after
from mddns.zone.merged_zone import MergedZone

OTHER = Name.parse("other.")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "mddns" / "serials.json")


def test_nothing_is_remembered_at_first(path: str) -> None:
    assert Serials(APEX, path).latest() is None


def test_the_next_run_begins_behind_every_serial_that_was_given_out(path: str) -> None:
    first = Serials(APEX, path)
    for serial in range(2**32 - 300, 2**32 + 300):
        first.given_out(serial % 2**32)
        latest = Serials(APEX, path).latest()
        assert latest is not None
        assert latest == serial % 2**32 or is_after(latest, serial % 2**32)


def test_the_file_is_written_once_for_many(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(serials_module, "replace", lambda path, zones: written.append(zones))
    serials = Serials(APEX, path)
    for serial in range(1000, 1000 + 3 * AHEAD):
        serials.given_out(serial)
    assert len(written) == 3


def test_a_zone_after_a_restart_with_the_clock_set_back_lies_behind_the_one_before(path: str) -> None:
    serials = Serials(APEX, path)
    before = MergedZone(APEX, ("127.0.0.1",), 1_800_000_000_000, serials.latest())
    serials.given_out(before.serial)
    after = MergedZone(APEX, ("127.0.0.1",), 1_800_000_000_000 - 3_600_000, Serials(APEX, path).latest())
    assert is_after(after.serial, before.serial)


def test_two_programs_share_a_file_and_the_later_serial_stands(path: str) -> None:
    early, late = Serials(APEX, path), Serials(APEX, path)
    late.given_out(5000)
    early.given_out(1000)
    assert Serials(APEX, path).latest() == 5000 + AHEAD


def test_each_zone_has_its_own(path: str) -> None:
    Serials(APEX, path).given_out(1000)
    Serials(OTHER, path).given_out(7)
    assert Serials(APEX, path).latest() == 1000 + AHEAD
    assert Serials(OTHER, path).latest() == 7 + AHEAD


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"minidisc.": "7"}', '{"minidisc.": -1}', '{"minidisc.": true}', "[" * 50_000]
)
def test_a_file_that_makes_no_sense_is_none(path: str, text: str) -> None:
    file = Path(path)
    file.parent.mkdir()
    file.write_text(text)
    serials = Serials(APEX, path)
    assert serials.latest() is None
    serials.given_out(1000)
    assert json.loads(file.read_text()) == {"minidisc.": 1000 + AHEAD}


def test_where_nothing_can_be_written_that_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    serials = Serials(APEX, str(tmp_path / "file" / "serials.json"))
    with caplog.at_level(logging.INFO, "mddns"):
        for serial in (1000, 2000, 3000):
            serials.given_out(serial)
    assert len(caplog.records) == 1
    Serials(APEX, None).given_out(1000)


def test_no_half_file_is_left(path: str) -> None:
    Serials(APEX, path).given_out(1000)
    assert [each.name for each in Path(path).parent.iterdir()] == ["serials.json"]


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"STATE_DIRECTORY": "/var/lib/x:/var/lib/y", "XDG_STATE_HOME": "/x"}, "/var/lib/x/serials.json"),
        ({"XDG_STATE_HOME": "/x"}, "/x/mddns/serials.json"),
        ({"XDG_STATE_HOME": "x", "HOME": "/"}, "/.local/state/mddns/serials.json"),
        ({"HOME": "/nonexistent"}, None),
    ],
)
def test_where_it_is(variables: dict[str, str], found: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert state_file() == found


def test_where_the_units_state_is_anothers_it_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/x")
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert state_file(of_unit=False) == "/x/mddns/serials.json"


def test_md_run_leaves_the_state_of_its_unit_to_its_program(tmp_path: Path) -> None:
    unit, user = tmp_path / "unit", tmp_path / "user"
    unit.mkdir()
    with World(tmp_path, ("alpha",)) as world:
        env = {"MDDNS_NETWORK": world.spec("alpha"), "STATE_DIRECTORY": str(unit), "XDG_STATE_HOME": str(user)}
        assert world.md("run", "web", ":1", "--", "true", env=env).returncode == 0
    assert list(unit.iterdir()) == []
    assert "minidisc." in json.loads((user / "mddns" / "serials.json").read_text())


def test_the_library_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    with mddns.start_registry(network=f"static:alpha=127.0.0.1:{free_ports(1)[0]}") as registry:
        registry.advertise_service(80, "web")
    assert list(tmp_path.iterdir()) == []
