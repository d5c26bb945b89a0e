"""A service with a check, as others see it: real programs on hosts of their own."""

from __future__ import annotations

import json

import pytest
from bed.dig import dig
from bed.hosts import Bed
from bed.process import wait_until
from conftest import MakeBed

SERVER = """
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        sick = os.path.exists(sys.argv[1])
        self.send_response(503 if sick else 200)
        self.end_headers()
        self.wfile.write(b"ready")

    def log_message(self, *_):
        pass

http.server.HTTPServer(("", 8080), Handler).serve_forever()
"""


def names(bed: Bed, host: str) -> list[str]:
    return [each["name"] for each in json.loads(bed.host(host).run(["md", "list", "-o", "json"]).stdout)]


def test_a_service_is_found_only_while_its_check_passes(make_bed: MakeBed, tmp_path: object) -> None:
    bed = make_bed(["alpha", "bravo", "charlie"])
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    sick = f"{tmp_path}/sick"
    flags = ["--check", "/healthz", "--srv", "app"]
    advertising = alpha.start(["md", "advertise", "web", ":8080", *flags])
    advertising.wait_for("held back until its check passes: web")
    # Nobody listens yet.
    wide = bravo.run(["md", "list", "-o", "wide"])
    assert wide.stdout == ""
    assert f"held back: web {alpha.ipv4}:8080 on alpha: GET /healthz: {alpha.ipv4}:8080: " in wide.stderr
    assert dig(bravo, alpha.ipv4, "web.minidisc", "SRV").rcode == "NXDOMAIN"
    alpha.start(["python3", "-c", SERVER, sick])
    assert wait_until(lambda: names(bed, "bravo") == ["web"])
    assert dig(bravo, alpha.ipv4, "_app._tcp.web.minidisc", "SRV").rcode == "NOERROR"
    open(sick, "w").close()
    assert wait_until(lambda: names(bed, "bravo") == [], timeout=8)
    told = bravo.run(["md", "lookup", "web", "-o", "wide"])
    assert "on alpha: GET /healthz: status 503" in told.stderr
    assert told.returncode == 1
    assert "web on port 8080 is held back: GET /healthz: status 503" in advertising.stderr


@pytest.mark.parametrize("check", ["tcp", "/healthz"])
def test_what_a_tenant_holds_back_its_holder_tells(make_bed: MakeBed, check: str) -> None:
    bed = make_bed(["alpha", "bravo"])
    alpha, bravo = bed.host("alpha"), bed.host("bravo")
    alpha.start(["md", "advertise", "db", ":5432"]).wait_for("advertised")
    alpha.start(["md", "advertise", "web", ":8080", "--check", check]).wait_for("advertised")
    assert names(bed, "bravo") == ["db"]
    assert wait_until(lambda: f"held back: web {alpha.ipv4}:8080" in bravo.run(["md", "list", "-o", "wide"]).stderr)
    alpha.start(["python3", "-c", SERVER, "/nowhere"])
    assert wait_until(lambda: names(bed, "bravo") == ["db", "web"])
    assert "held back" not in bravo.run(["md", "list", "-o", "wide"]).stderr
