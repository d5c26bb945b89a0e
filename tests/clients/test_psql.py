"""psql connects to a PostgreSQL by name, wherever that is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bed.hosts import Bed, Host
from bed.process import Process
from bed.resolvconf import resolv_conf
from conftest import MakeBed, Measured
from real_clients import HOSTS, configuration, forward, seconds_until, version_of

pytestmark = pytest.mark.namespaces

NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]  # PostgreSQL refuses root
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


@pytest.fixture(scope="module")
def bed(make_module_bed: MakeBed) -> Iterator[Bed]:
    """desk forwards."""
    bed = make_module_bed(HOSTS)
    with resolv_conf(bed.host("desk"), configuration("resolv.conf")):
        forward(bed.host("desk"))
        yield bed


@pytest.fixture(scope="module")
def cluster(bed: Bed) -> Iterator[Path]:
    """A cluster of nobody's that lets everybody in, in a directory to which nobody may go."""
    assert PROGRAMS, "PostgreSQL is not installed"
    folder = Path(tempfile.mkdtemp(prefix="md-postgres-"))
    try:
        shutil.chown(folder, "nobody", "nogroup")
        initdb = [str(PROGRAMS[-1].with_name("initdb")), "--no-sync", "--auth=trust", "--username=ada", "--locale=C"]
        made = bed.host("alpha").run([*NOBODY, *initdb, f"--pgdata={folder / 'data'}"], timeout=60)
        assert made.returncode == 0, made.stderr
        with (folder / "data" / "pg_hba.conf").open("a") as file:
            file.write("host all all 100.64.0.0/10 trust\n")
        yield folder / "data"
    finally:
        shutil.rmtree(folder)


def serve(host: Host, cluster: Path, *labels: str) -> Process:
    """The cluster on that host, as the service `db`."""
    argv = [*NOBODY, str(PROGRAMS[-1]), "-D", str(cluster), "-k", "", "-h", host.ipv4, "-F"]
    process = host.start(["md", "run", "db", ":5432", *labels, "--", *argv])
    process.wait_for("advertised", 20)
    return process


def where(bed: Bed, name: str = "db.minidisc") -> str:
    """The address of the server that psql reaches."""
    query = ["psql", "-h", name, "-U", "ada", "-d", "postgres", "-Atc", "select inet_server_addr()"]
    return bed.host("desk").run(query, env={"PGCONNECT_TIMEOUT": "2"}).stdout.strip()


def test_psql_connects_by_name_and_follows_the_server_to_another_host(
    bed: Bed, cluster: Path, measured: Measured
) -> None:
    alpha, bravo, desk = map(bed.host, HOSTS)
    with serve(alpha, cluster) as first:
        seconds_until(lambda: where(bed) == alpha.ipv4, 15)
        assert first.terminate(15) == 0
    with serve(bravo, cluster) as second:
        took = seconds_until(lambda: where(bed) == bravo.ipv4, 15)
        assert second.terminate(15) == 0
    version = version_of(desk, "psql", "--version")
    measured(f"psql {version}: connected to where the server had moved {took:.1f} s after it was advertised there")


def test_psql_goes_on_to_the_next_address_where_nobody_accepts(bed: Bed, cluster: Path) -> None:
    alpha, bravo, desk = map(bed.host, HOSTS)
    with bravo.start(["md", "advertise", "db", ":5432"]) as empty, serve(alpha, cluster) as server:
        empty.wait_for("advertised")
        both = {alpha.ipv4, bravo.ipv4}
        seconds_until(lambda: set(desk.run(["dig", "+short", "db.minidisc"]).stdout.split()) == both, 15)
        assert desk.run(["getent", "ahostsv4", "db.minidisc"]).stdout.startswith(bravo.ipv4)  # which refuses
        assert where(bed) == alpha.ipv4
        assert server.terminate(15) == 0  # the next one has the same cluster


def test_psql_connects_to_the_one_of_the_view_that_is_its_search_domain(bed: Bed, cluster: Path) -> None:
    alpha, bravo, desk = map(bed.host, HOSTS)
    with (
        bravo.start(["md", "advertise", "db", ":5432", "env=dev"]) as other,
        serve(alpha, cluster, "env=prod") as server,
    ):
        other.wait_for("advertised")
        both = {alpha.ipv4, bravo.ipv4}
        seconds_until(lambda: set(desk.run(["dig", "+short", "db.minidisc"]).stdout.split()) == both, 15)
        assert where(bed, "db") == alpha.ipv4
        assert server.terminate(15) == 0
