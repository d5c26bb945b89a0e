"""``resolv.conf``: text in, servers and options out (resolv.conf(5)).

Lines that a forwarder does not need (search lists, unknown options) are ignored, as libc does. A server that cannot be
used is ignored too, with a remark.
"""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

from ..base.errors import ConfigError

PATH: Final = "/etc/resolv.conf"
PORT: Final = 53
MOST_SERVERS: Final = 8  # libc takes three
MOST_OCTETS: Final = 64 << 10
# Larger values are reduced to these limits, which are those of libc.
MOST_TIMEOUT: Final = 30
MOST_ATTEMPTS: Final = 5


class Place(NamedTuple):
    """The address and port of a name server. `address` may end with a scope, as in ``fe80::1%eth0``."""

    address: str
    port: int = PORT

    @property
    def is_loopback(self) -> bool:
        """Whether it is a loopback address, so that only this machine can answer there."""
        return ipaddress.ip_address(self.address.partition("%")[0]).is_loopback

    def __str__(self) -> str:
        return self.address if self.port == PORT else f"{self.address}#{self.port}"


class ResolvConf(NamedTuple):
    """The content of a file; None for a missing option. `timeout` is in seconds, `attempts` in rounds of queries."""

    servers: tuple[Place, ...] = ()
    timeout: int | None = None
    attempts: int | None = None
    rotate: bool = False
    use_vc: bool = False
    remarks: tuple[str, ...] = ()


def read_resolv_conf(text: str) -> ResolvConf:
    """Parses the text of a file. It never fails: see ``remarks``."""
    servers: dict[Place, None] = {}
    options: dict[str, str] = {}
    remarks = []
    for number, line in enumerate(text[:MOST_OCTETS].splitlines(), 1):
        if line.startswith(("#", ";")):
            continue
        keyword, *words = line.split()[:64] or ("",)
        if keyword == "nameserver" and words:
            address = _address(words[0])
            if address is None:
                remarks.append(f"line {number}: {words[0][:80]!r} is no address")
            elif len(servers) == MOST_SERVERS:
                remarks.append(f"line {number}: only the first {MOST_SERVERS} servers are used")
            else:
                servers[Place(address)] = None
        elif keyword == "options":
            for word in words:
                name, _, value = word.partition(":")
                options[name] = value
    return ResolvConf(
        tuple(servers),
        _number(options, "timeout", MOST_TIMEOUT),
        _number(options, "attempts", MOST_ATTEMPTS),
        "rotate" in options,
        "use-vc" in options or "usevc" in options,
        tuple(remarks),
    )


def parse_place(text: str, option: str = "upstream") -> Place:
    """Parses ``ADDRESS[#PORT]`` from the command line. ConfigError says what is wrong."""
    host, mark, number = text.partition("#")
    address = _address(host)
    if address is None:
        raise ConfigError(f"{option} {text!r}: must be an address, as in 192.168.1.1, 10.0.0.1#5353 or fd00::1#5353")
    if mark and not (number.isascii() and number.isdecimal() and len(number) <= 5 and 0 < int(number) <= 65535):
        raise ConfigError(f"{option} {text!r}: port {number!r} must be a number from 1 to 65535")
    return Place(address, int(number) if mark else PORT)


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _number(options: dict[str, str], name: str, most: int) -> int | None:
    value = options.get(name, "")
    if not (value.isascii() and value.isdecimal() and len(value) <= 9):
        return None
    return max(1, min(most, int(value)))
