"""Importing mddns loads almost nothing, in programs that embed it and in each run of `md`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


def after(code: str) -> dict[str, Any]:
    """The modules and threads of a new interpreter after it ran some code."""
    report = "import json, sys, threading; print(json.dumps([sorted(sys.modules), threading.active_count()]))"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{code}\n{report}"], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    modules, threads = json.loads(ran.stdout)
    return {"modules": set(modules), "threads": threads}


HEAVY = {"asyncio", "dnslib", "h11", "yaml", "click", "dns", "ipaddress", "socket", "ssl", "logging", "encodings.idna"}


def test_importing_mddns_loads_nothing_but_itself_and_starts_no_thread() -> None:
    found = after("import mddns")
    assert found["modules"] & HEAVY == set()
    assert {name for name in found["modules"] if name.startswith("mddns")} == {"mddns"}
    assert found["threads"] == 1


def test_finding_needs_no_event_loop_and_no_other_library() -> None:
    found = after("import mddns; mddns.Resolver('static:127.0.0.1').close()")
    assert found["modules"] & {"asyncio", "dnslib", "h11", "yaml", "click", "ssl", "logging"} == set()
    assert found["threads"] == 1


def test_a_resolver_that_found_nothing_has_loaded_no_event_loop_either() -> None:
    code = "import mddns\nwith mddns.Resolver('static:127.0.0.1:9', timeout=0.1) as r: assert r.resolve('web') == []"
    found = after(code)
    assert found["modules"] & {"asyncio", "dnslib", "h11", "yaml", "click", "ssl", "logging"} == set()
    assert found["threads"] == 1


def test_offering_needs_no_other_library_and_one_thread() -> None:
    from loopback import address, free_port

    code = f"import mddns\nr = mddns.start_registry('static:{address()}:{free_port()}')\nr.advertise_service(80, 'web')"
    found = after(code)
    assert found["modules"] & {"dnslib", "yaml", "click", "h11"} == set()
    assert found["threads"] == 2


def test_everything_that_is_exported_is_there_and_nothing_else() -> None:
    import mddns

    assert set(mddns.__all__) <= set(dir(mddns))
    for name in mddns.__all__:
        assert getattr(mddns, name) is not None
    assert not hasattr(mddns, "nothing_of_this_name")
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = mddns.nothing_of_this_name


def test_star_import_works() -> None:
    assert after("from mddns import *; resolve, Registry, aio")["threads"] == 1
