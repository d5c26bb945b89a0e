"""Files among other programs' configuration: whole, ours, or left alone."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mddns import ConfigError
from mddns.setup.drop_in import put, read, take_away


def ours(text: str) -> bool:
    return text.startswith("# ours")


def write(path: Path, text: str = "# ours\n", *, directory: bool = True) -> bool:
    return put(str(path), text, ours, directory=directory)


def test_a_file_is_written_readable_for_all_and_a_second_time_nothing_is_done(tmp_path: Path) -> None:
    path = tmp_path / "made" / "x.conf"
    before = os.umask(0o077)
    try:
        assert write(path)
    finally:
        os.umask(before)
    made = path.stat()
    assert (path.read_text(), made.st_mode & 0o777) == ("# ours\n", 0o644)
    assert not write(path)
    assert path.stat().st_ino == made.st_ino
    assert os.listdir(path.parent) == ["x.conf"]


def test_a_file_of_ours_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "x")
    assert write(tmp_path / "x", "# ours, new\n")
    assert (tmp_path / "x").read_text() == "# ours, new\n"


def test_a_file_that_is_not_ours_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("theirs\n# ours\n")
    for act in (lambda: write(path), lambda: take_away(str(path), ours)):
        with pytest.raises(ConfigError, match="was not written by mddns"):
            act()
    assert path.read_text() == "theirs\n# ours\n"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("# ours\n")
    (tmp_path / "x").symlink_to("target")
    with pytest.raises(ConfigError, match="is not a regular file"):
        write(tmp_path / "x", "# ours, new\n")
    assert (tmp_path / "target").read_text() == "# ours\n"


def test_a_directory_that_nobody_reads_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no"):
        write(tmp_path / "gone" / "x", directory=False)
    assert not (tmp_path / "gone").exists()


def test_only_a_file_that_is_there_is_taken_away(tmp_path: Path) -> None:
    write(tmp_path / "x")
    assert take_away(str(tmp_path / "x"), ours)
    assert not take_away(str(tmp_path / "x"), ours)
    assert not take_away(str(tmp_path / "gone" / "x"), ours)
    assert os.listdir(tmp_path) == []


def test_who_reads_meanwhile_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "x"
    texts = [f"# ours {letter * 20_000}\n" for letter in "ab"]
    write(path, texts[0])
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            seen.add(path.read_text())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(50):
        write(path, texts[number % 2])
    stop.set()
    watcher.join()
    assert seen <= set(texts)


def test_reading_gives_the_text_or_none(tmp_path: Path) -> None:
    assert read(str(tmp_path / "x"), ours) is None
    write(tmp_path / "x")
    assert read(str(tmp_path / "x"), ours) == "# ours\n"
