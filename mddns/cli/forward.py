"""``md forward``: a DNS resolver for one machine."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Sequence
from typing import Final, NamedTuple

import click

from ..base.errors import ConfigError, NetworkError, PortInUse
from ..base.model import join_address
from ..files.resolv_conf import PATH, PORT, Place, parse_place
from ..files.serial_file import Serials, state_file
from ..forward.forwarder import Forwarder
from ..forward.upstream_list import UpstreamSource
from .parts.logs import show_logs
from .parts.options import Options, common
from .parts.service_words import shell_line
from .parts.signals import has_terminal
from .parts.systemd_notify import notify, reloading
from .parts.systemd_sockets import handed_over
from .parts.terminal import talk

_HERE: Final = "127.0.0.1"
_OTHER_PORT: Final = 5354


class _Given(NamedTuple):
    """The options of this command, without the common ones."""

    listen: tuple[Place, ...]
    source: UpstreamSource
    recursive: bool
    block_rebinding: bool
    notify: tuple[Place, ...]


@click.command("forward")
@click.option(
    "--listen",
    metavar="ADDR:PORT",
    multiple=True,
    help="Address to answer at; repeatable. Default 127.0.0.1:53, or port 5354 if 53 is not available.",
)
@click.option(
    "--upstream",
    metavar="ADDR[#PORT]",
    multiple=True,
    help="DNS server for other names; repeatable. Default: the nameservers of the --resolv-conf file.",
)
@click.option(
    "--resolv-conf",
    metavar="FILE",
    help=f"File with upstreams and options; default {PATH}. Read again when it changes.",
)
@click.option(
    "--notify",
    "secondaries",
    metavar="ADDR[#PORT]",
    multiple=True,
    help="Secondary DNS server to notify when the zone changes (RFC 1996); repeatable.",
)
@click.option("--recursive", is_flag=True, help="Answer other names for other machines too, not only for this one.")
@click.option("--block-rebinding", is_flag=True, help="Reject upstream responses that contain private addresses.")
@common
def command(
    listen: tuple[str, ...],
    upstream: tuple[str, ...],
    resolv_conf: str | None,
    secondaries: tuple[str, ...],
    recursive: bool,
    block_rebinding: bool,
    options: Options,
) -> int:
    """Run a DNS resolver on this machine: service names from the network, other names from upstreams.

    Name it in resolv.conf (nameserver 127.0.0.1), or let systemd-resolved or dnsmasq send it the
    queries for the zone. At an address that is not loopback, it answers only for the zone, and only
    for nodes of the network. Phones and browsers find services if Tailscale's split DNS names it.

    SIGHUP reads the --resolv-conf file again and clears the cache of upstream responses.

    \b
    Examples:
      md forward --upstream 192.168.1.1
      md forward --listen 127.0.0.1:53 --listen 100.64.0.7:53
    """
    show_logs(options.verbose)
    path = resolv_conf or (None if upstream else PATH)
    source = UpstreamSource([parse_place(each) for each in upstream], path)
    notified = tuple(parse_place(each, "notify") for each in secondaries)
    given = _Given(tuple(map(_listen_at, listen)), source, recursive, block_rebinding, notified)
    asyncio.run(_forward(given, options))
    return 0


def _listen_at(text: str) -> Place:
    """Reads ``ADDR:PORT`` or ``[ADDR]:PORT``. The default port is 53. ConfigError if it is wrong."""
    host, colon, number = text, "", ""
    if text.startswith("["):
        host, closing, behind = text[1:].partition("]")
        colon, number = behind[:1], behind[1:]
        if not closing or colon not in ("", ":"):
            host = ""
    elif text.count(":") == 1:
        host, colon, number = text.partition(":")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ConfigError(f"listen {text!r}: not an IP address; write it as 127.0.0.1:5354 or [::1]:5354") from None
    if address.is_unspecified:
        raise ConfigError(
            f"listen {text!r}: a wildcard is not allowed; give each address: --listen {_HERE}:53 --listen 100.64.0.7:53"
        )
    if colon and not (number.isascii() and number.isdecimal() and len(number) <= 5 and 0 < int(number) <= 65535):
        raise ConfigError(f"listen {text!r}: port {number!r} is not a number from 1 to 65535")
    return Place(str(address), int(number) if colon else PORT)


async def _forward(given: _Given, options: Options) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    _more_descriptors()
    _short_pauses()
    handed = handed_over()
    try:
        forwarder, places, instead = await _open(given, options, handed)
    except BaseException:
        for sock in handed:
            sock.close()
        raise
    at_terminal = has_terminal()

    def hang_up() -> None:
        if at_terminal and not has_terminal():
            stopped.set()
            return
        reloading()
        forwarder.reload()
        notify("READY=1")
        talk(f"read again: upstreams {_shown(forwarder.upstreams)}")

    loop.add_signal_handler(signal.SIGHUP, hang_up)
    try:
        _tell(given, options, forwarder, places, instead)
        await stopped.wait()
    finally:
        notify("STOPPING=1")
        await forwarder.close()


async def _open(given: _Given, options: Options, handed: list[socket.socket]) -> tuple[Forwarder, Sequence[Place], str]:
    """Returns the forwarder, the places where it answers, and why that is not port 53 ("" if it is)."""

    async def at(*places: Place) -> Forwarder:
        return await Forwarder.open(
            options.settings,
            given.source,
            places,
            handed,
            recursive=given.recursive,
            block_rebinding=given.block_rebinding,
            notify=given.notify,
            serials=Serials(options.settings.apex, state_file()),
        )

    if given.listen or handed:
        places = [*given.listen, *dict.fromkeys(Place(*sock.getsockname()[:2]) for sock in handed)]
        return await at(*given.listen), places, ""
    first, second = Place(_HERE, PORT), Place(_HERE, _OTHER_PORT)
    try:
        return await at(first), [first], ""
    except (PortInUse, NetworkError) as error:
        why = str(error).partition(": end it")[0]
        return await at(second), [second], why


def _tell(given: _Given, options: Options, forwarder: Forwarder, places: Sequence[Place], instead: str) -> None:
    """Prints where it answers, from which upstreams, and what to do next."""
    apex = str(options.settings.apex).rstrip(".")
    where = ", ".join(join_address(*place) for place in places)
    notify("READY=1", status=f"answering at {where}")
    talk(f"answering at {where}{f' ({instead})' if instead else ''}")
    talk(f"names under {apex} from the network, all others from {_shown(forwarder.upstreams)}")
    outside = [place.address for place in places if not place.is_loopback]
    if outside and given.recursive:
        talk(
            f"WARNING: --recursive: at {', '.join(outside)}, any node of the network and any machine with a private "
            "address can look up any name through this machine",
            "warning",
        )
    elif outside:
        talk(f"at {', '.join(outside)}: only names under {apex}, and only for nodes of the network")
    first = next((place for place in places if place.is_loopback), places[0])
    if first.port == PORT:
        talk(
            f"next: put 'nameserver {first.address}' into {PATH}, for all programs of this machine; see docs/forward.md"
        )
    else:
        talk(
            f"next: let this machine's resolver send queries for {apex} to {first.address} port {first.port}, or "
            f"run md forward at port {PORT}, as root or through systemd; see docs/forward.md"
        )
    port = [] if first.port == PORT else ["-p", str(first.port)]
    line = shell_line("dig", f"@{first.address}", *port, f"_list.{apex}", "PTR")
    talk(f"try: {line}; Ctrl-C ends it")


def _shown(places: Sequence[Place]) -> str:
    return ", ".join(map(str, places)) or "no upstream"


def _short_pauses() -> None:
    """Makes full garbage collections rare: with thousands of pending queries one takes 100 ms."""
    import gc

    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)


def _more_descriptors() -> None:
    """Raises the limit of open files, up to 8192: each query to an upstream has its own socket."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
