"""Runs `md` in the process of the test, to test its texts quickly; opening a socket fails."""

from __future__ import annotations

import io
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

import pytest

from mddns.__main__ import main

Done = tuple[int, str, str]
Md = Callable[..., Done]


def md_inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Md:
    """`md("check", path)` returns exit code, stdout and stderr."""

    def no_socket(*_: object, **__: object) -> NoReturn:
        raise AssertionError("it asked the network")

    def run(*words: object, stdin: bytes = b"") -> Done:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", no_socket)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            patch.setattr(sys, "argv", ["md", *map(str, words)])
            with pytest.raises(SystemExit) as ended:
                main()
        return int(str(ended.value.code)), *capsys.readouterr()

    return run
