"""Network namespaces: whether they are allowed, `ip` in batches, calls inside one, and removal of leftovers.

Names are `md<pid>.<bed>-<host>`: the pid is that of the test run, so that leftovers of a killed run can be
distinguished from the namespaces of a running one.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

FORCE_LOOPBACK = "MDDNS_TEST_LOOPBACK"
"""If set to 1, the tests run on loopback although there are namespaces."""

NETNS = Path("/run/netns")
SCRATCH = "md-bed-"
"""The prefix of the beds' directories in the temporary directory; the pid and a dash follow."""

_CLONE_NEWNET = 0x40000000
_OURS = re.compile(r"^(?:md|md-bed-)(\d+)[.-]")


class NeedsNamespaces(Exception):
    """The bed cannot do this on loopback."""


@functools.cache
def why_not() -> str | None:
    """Returns why there are no namespaces here, or None. Checked once, by making and removing one."""
    if os.environ.get(FORCE_LOOPBACK) == "1":
        return f"{FORCE_LOOPBACK}=1"
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(tool) is None:
            return f"{tool} is missing: apt-get install {package}"
    probe = f"md{os.getpid()}.0-probe"
    try:
        ip([f"netns add {probe}", f"link add br0 netns {probe} type bridge"])
        ip(["link add va type veth peer name vb"], probe)
        in_namespace(probe, os.getpid)
    except (subprocess.CalledProcessError, OSError) as error:
        return f"the kernel refuses: {getattr(error, 'stderr', None) or error}".strip()
    finally:
        ip([f"netns del {probe}"], force=True)
    return None


def ip(lines: Iterable[str], namespace: str | None = None, force: bool = False) -> None:
    """Runs lines of `ip` in one process. With `force`, it continues after a line that fails, without a message."""
    where = [] if namespace is None else ["-n", namespace]
    subprocess.run(
        ["ip", *where, *(["-force"] if force else []), "-batch", "-"],
        input="\n".join(lines) + "\n",
        text=True,
        capture_output=True,
        check=not force,
        timeout=60,
    )


def in_namespace(namespace: str, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls `fn` in a new thread that has moved into the namespace. Sockets that it opens stay there.

    The thread ends with the call: no thread of the test ever changes its own namespace.
    """
    result: list[T] = []
    failure: list[BaseException] = []

    def moved() -> None:
        try:
            enter(namespace)
            result.append(fn(*args, **kwargs))
        except BaseException as error:  # raised in the caller, whatever it is
            failure.append(error)

    thread = threading.Thread(target=moved, name=f"in {namespace}", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def enter(namespace: str) -> None:
    """Calls setns(2) for the calling thread; os.setns exists from Python 3.12 on."""
    fd = os.open(NETNS / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if sys.version_info >= (3, 12):
            os.setns(fd, os.CLONE_NEWNET)
        else:
            _checked(ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET), str(NETNS / namespace))
    finally:
        os.close(fd)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def move_apart() -> None:
    """Moves this thread, and the programs that it starts, into a network of its own that has only loopback."""
    _checked(ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET), "unshare")
    ip(["link set lo up"])


def sweep() -> None:
    """Removes namespaces (with the programs in them) and directories of test runs that have ended."""
    if why_not() is None:
        for name in _dead(NETNS):
            listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
            for pid in listed.stdout.split():
                # Only a bed starts processes there, and the run that would end them is gone.
                kill(int(pid), signal.SIGKILL)
            ip([f"netns del {name}"], force=True)
    for name in _dead(Path(tempfile.gettempdir())):
        shutil.rmtree(Path(tempfile.gettempdir()) / name, ignore_errors=True)


def kill(pid: int, number: int) -> None:
    """Sends a signal to a process (a group if negative) that may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _dead(directory: Path) -> list[str]:
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    found = [(name, _OURS.match(name)) for name in names]
    return [name for name, match in found if match and not _alive(int(match[1]))]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
