"""Which handler answers a request."""

from __future__ import annotations

import pytest

from mddns.http.messages import Request, Response, Web

WEB = Web({("GET", "/ping"): lambda _: Response(200), ("POST", "/ping"): lambda _: Response(201)})


def ask(method: str, path: str) -> Response:
    response = WEB.handle(Request(method, path, {}, {}, b"", "127.0.0.1", 1, True))
    assert isinstance(response, Response)
    return response


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 201), ("HEAD", 200)])
def test_a_request_goes_to_its_handler(method: str, status: int) -> None:
    assert ask(method, "/ping").status == status


def test_another_path_is_not_found() -> None:
    assert ask("GET", "/pong").status == 404


def test_another_method_is_told_which_ones_there_are() -> None:
    response = ask("DELETE", "/ping")
    assert (response.status, response.headers) == (405, (("Allow", "GET, POST"),))
