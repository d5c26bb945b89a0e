"""Which upstreams there are: those given, or those of a file that changes while we look."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest

from mddns.base.errors import ConfigError
from mddns.files.resolv_conf import Place
from mddns.forward.server_selection import ATTEMPTS, TIMEOUT, Options
from mddns.forward.upstream_list import LOOK_EVERY, UpstreamSource

HERE = Place("127.0.0.1", 53)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 10.0.0.1\noptions timeout:1 attempts:3 rotate use-vc\n")
    return path


def source(file: Path | None, *given: Place) -> UpstreamSource:
    made = UpstreamSource(given, str(file) if file else None)
    made.listening_at([HERE])
    return made


def test_a_file_names_servers_and_options(file: Path) -> None:
    found = source(file).look(0.0)
    assert found == ((Place("10.0.0.1"),), Options(1.0, 3, True, True))


def test_what_it_does_not_say_is_our_default(file: Path) -> None:
    file.write_text("nameserver 10.0.0.1\n")
    found = source(file).look(0.0)
    assert found
    assert found.options == Options(TIMEOUT, ATTEMPTS)


def test_given_upstreams_count_before_those_of_a_file_whose_options_count(file: Path) -> None:
    found = source(file, Place("10.9.9.9", 5353)).look(0.0)
    assert found == ((Place("10.9.9.9", 5353),), Options(1.0, 3, True, True))
    assert source(None, Place("10.9.9.9")).look(0.0) == ((Place("10.9.9.9"),), Options())


def test_nobody_looks_more_often_than_once_a_second(file: Path) -> None:
    at = source(file)
    at.look(0.0)
    file.write_text("nameserver 10.0.0.22\n")
    assert at.look(LOOK_EVERY - 0.1) is None
    found = at.look(LOOK_EVERY)
    assert found
    assert found.places == (Place("10.0.0.22"),)
    assert at.look(2 * LOOK_EVERY) is None


def test_a_file_in_its_place_is_another_file(file: Path) -> None:
    """As NetworkManager does it: a new file renamed over the old one, here of the same size and age."""
    at = source(file)
    at.look(0.0)
    stat = file.stat()
    other = file.with_name("new")
    other.write_text(file.read_text().replace("10.0.0.1", "10.0.0.2"))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.rename(file)
    found = at.look(5.0)
    assert found
    assert found.places == (Place("10.0.0.2"),)


def test_the_same_text_written_anew_is_no_news(file: Path) -> None:
    at = source(file)
    at.look(0.0)
    file.write_text("# by somebody else\n" + file.read_text())
    assert at.look(5.0) is None


def test_a_file_that_is_gone_changes_nothing_and_is_said(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    at = source(file)
    at.look(0.0)
    file.unlink()
    with caplog.at_level(logging.WARNING, "mddns"):
        assert at.look(5.0) is None
    assert f"{file} cannot be read: {os.strerror(errno.ENOENT)}" in caplog.text


def test_no_file_at_all_is_no_upstream(tmp_path: Path) -> None:
    found = source(tmp_path / "none").look(0.0)
    assert found
    assert found.places == ()


def test_we_are_no_upstream_of_ours(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text("nameserver 127.0.0.1\nnameserver 10.0.0.1\n")
    with caplog.at_level(logging.WARNING, "mddns"):
        found = source(file).look(0.0)
    assert found
    assert found.places == (Place("10.0.0.1"),)
    assert f"{file} names 127.0.0.1, where md forward itself answers; ignored" in caplog.text


def test_where_the_file_names_us_alone_the_remedy_is_said_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text("nameserver 127.0.0.1\n")
    at = source(file)
    with caplog.at_level(logging.WARNING, "mddns"):
        found = at.look(0.0)
        at.look(1.0, again=True)
    assert found
    assert found.places == ()
    assert caplog.text.count("name one with --upstream ADDRESS, or a file with --resolv-conf") == 1


def test_to_name_ourselves_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"upstream 127\.0\.0\.1: md forward itself answers there"):
        source(None, HERE)


def test_another_port_of_ours_is_somebody_else() -> None:
    assert source(None, Place("127.0.0.1", 5353)).look(0.0)


def test_resolv_conf_may_begin_with_a_byte_order_mark(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text("\ufeffnameserver 10.0.0.1\n", "utf-8")
    found = source(file).look(0.0)
    assert found
    assert found.places == (Place("10.0.0.1"),)
    assert not caplog.records
