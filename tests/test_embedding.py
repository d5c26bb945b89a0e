"""What every program that embeds mddns relies on, in forks, threads and event loops, and at its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bed.process import wait_until

import mddns


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def network() -> Iterator[str]:
    """Returns a static network of this machine alone, at a free port."""
    yield f"static:here=127.0.0.1:{free_port()}"
    mddns.close()


def program(code: str, network: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs a program with every warning as an error and in asyncio's debug mode."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", *options, "-c", textwrap.dedent(code)],
        env={**os.environ, "MDDNS_NETWORK": network},
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_a_program_that_just_ends_does_so_quietly_and_at_once(network: str) -> None:
    done = program(
        """
        import mddns
        registry = mddns.start_registry()
        registry.advertise_service(80, "web", {})
        print(mddns.find_service("web"))
        """,
        network,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "127.0.0.1:80\n", "")


def test_a_program_that_ends_by_an_exception_is_not_held_up(network: str) -> None:
    done = program("import mddns; mddns.start_registry(); 1 / 0", network)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr.splitlines()[-1]


def test_after_close_no_thread_and_no_socket_is_left(network: str) -> None:
    threads = threading.active_count()
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc") else 0
    for _ in range(3):
        with mddns.start_registry(network) as registry, mddns.Resolver(network) as resolver:
            registry.advertise_service(80, "web", {})
            assert len(resolver.resolve("web")) == 1
    assert threading.active_count() == threads
    if descriptors:
        assert wait_until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)


def test_closing_twice_and_using_what_is_closed() -> None:
    registry = mddns.start_registry(f"static:127.0.0.1:{free_port()}")
    handle = registry.advertise_service(80, "web", {})
    registry.close()
    registry.close()
    with pytest.raises(mddns.Error, match="closed"):
        handle.update({"a": "b"})


def test_a_forked_child_has_no_registry_and_the_parent_keeps_its_own(network: str) -> None:
    done = program(
        """
        import os, mddns
        registry = mddns.start_registry()
        registry.advertise_service(80, "web", {})
        pid = os.fork()
        if pid == 0:
            try:
                registry.advertise_service(81, "web", {})
            except mddns.Error as error:
                print("child:", error, flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        registry.advertise_service(82, "web", {})
        print(sorted(service.endpoint.port for service in mddns.resolve("web")))
        """,
        network,
        "-W",
        "ignore::DeprecationWarning",  # Python 3.12 warns of any fork beside a thread
    )
    assert done.stdout.splitlines() == [
        "child: this registry belongs to the parent process: start one in the child, after the fork",
        "[80, 82]",
    ], done.stderr


def test_a_child_may_start_a_registry_of_its_own(network: str) -> None:
    done = program(
        """
        import os, mddns
        registry = mddns.start_registry()
        registry.advertise_service(80, "web", {})
        mddns.resolve("web")
        if (pid := os.fork()) == 0:
            with mddns.start_registry() as own:
                own.advertise_service(81, "web", {})
                print(sorted(service.endpoint.port for service in mddns.resolve("web")), flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        """,
        network,
        "-W",
        "ignore::DeprecationWarning",
    )
    assert done.stdout == "[80, 81]\n", done.stderr


def test_a_parent_that_is_killed_leaves_the_port_although_its_child_lives(network: str) -> None:
    code = """
    import os, sys, time, mddns
    registry = mddns.start_registry()
    registry.advertise_service(80, "web", {})
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    print(pid, flush=True)
    time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        env={**os.environ, "MDDNS_NETWORK": network},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout
    child = int(parent.stdout.readline())
    try:
        parent.kill()
        parent.wait()
        with mddns.start_registry(network) as registry:
            assert registry.is_holder
            assert registry.services() == []
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()


def test_gunicorn_with_preload(network: str, tmp_path: Path) -> None:
    """Each worker has a registry. They offer one endpoint, which exists as long as one of them runs."""
    pytest.importorskip("gunicorn")
    port = free_port()
    (tmp_path / "shop.py").write_text(
        textwrap.dedent(f"""
        import mddns
        def app(environ, start_response):
            start_response("200 OK", [])
            return [b"hello"]
        def post_fork(server, worker):
            worker.registry = mddns.start_registry()
            worker.registry.advertise_service({port}, "shop", {{}})
        """)
    )
    (tmp_path / "conf.py").write_text("from shop import post_fork\n")
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "--preload",
            "-w",
            "3",
            "-b",
            f"127.0.0.1:{port}",
            "-c",
            "conf.py",
            "shop:app",
        ],
        env={**os.environ, "MDDNS_NETWORK": network},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with mddns.Resolver(network) as resolver:
            assert wait_until(lambda: bool(resolver.resolve("shop")), 15)
            time.sleep(0.5)  # let the other workers start: there must still be one endpoint
            assert [service.endpoint for service in resolver.resolve("shop")] == [f"127.0.0.1:{port}"]
    finally:
        server.terminate()
        _, talk = server.communicate(timeout=15)
    assert server.returncode == 0, talk
    assert "Traceback" not in talk


def test_many_threads_may_ask_at_once(network: str) -> None:
    with mddns.start_registry(network) as registry, mddns.Resolver(network) as resolver:
        for number in range(8):
            registry.advertise_service(80 + number, f"web{number}", {})
        found: list[int] = []

        def ask(number: int) -> None:
            found.append(len(resolver.resolve(f"web{number % 8}")))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [1] * 40


def test_blocking_verbs_work_inside_a_running_event_loop(network: str) -> None:
    async def main() -> list[int]:
        with mddns.start_registry(network) as registry:
            registry.advertise_service(80, "web", {})
            with mddns.Resolver(network) as resolver:
                return [service.endpoint.port for service in resolver.resolve("web")]

    assert asyncio.run(main()) == [80]


def test_the_library_leaves_signals_alone(network: str) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with mddns.start_registry(network):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_minidiscs_own_examples_run_unchanged(network: str) -> None:
    """The examples of its README, with the port and the channel that they leave to the reader."""
    done = program(
        """
        import sys, types
        import mddns
        sys.modules["minidisc"] = mddns
        grpc = sys.modules["grpc"] = types.ModuleType("grpc")
        grpc.insecure_channel = lambda endpoint: print("channel to", endpoint)
        port = 4711

        import minidisc
        registry = minidisc.start_registry()
        registry.advertise_service(port, 'myservice', {'env': 'prod'})

        import grpc
        import minidisc
        endpoint = minidisc.find_service('myservice', {'env': 'prod'})
        channel = grpc.insecure_channel(endpoint)
        print(endpoint.address, endpoint.port, isinstance(endpoint, str))

        for service in minidisc.list_services():
            print(service.name, service.labels, service.endpoint)
        registry.advertise_remote_service("10.0.0.1:42", "other", {})
        registry.unlist_service(port)
        assert issubclass(minidisc.TailscaleError, Exception)
        """,
        network,
    )
    assert done.stdout.splitlines() == [
        "channel to 127.0.0.1:4711",
        "127.0.0.1 4711 True",
        "myservice {'env': 'prod'} 127.0.0.1:4711",
    ], done.stderr
