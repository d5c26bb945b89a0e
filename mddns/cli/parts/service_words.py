"""The part that ``advertise``, ``run`` and ``check`` share: services as words of a command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, NamedTuple, TypeVar

import click

from ...base.health_check import Check
from ...base.model import DEFAULT_DOMAIN, DEFAULT_PORT, DEFAULT_PRIORITY, DEFAULT_WEIGHT, Service, join_address
from ...base.names import Name
from ...base.offer import Offer, make, parse_address
from ...base.validation import PROTOCOLS
from ...networks.settings import Settings
from ...sync import Registry
from .options import labels_of
from .terminal import clean, talk

F = TypeVar("F", bound=Callable[..., Any])

_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class Spoken(NamedTuple):
    """The flags of a service; None for a flag that was not given."""

    protocol: str | None
    priority: int | None
    weight: int | None
    srv: tuple[str, ...]
    check: str | None

    def given(self) -> dict[str, Any]:
        """Returns the flags that were given."""
        return {field: value for field, value in self._asdict().items() if value not in (None, ())}


def spoken_options(command: F) -> F:
    """Gives a command the flags of a service, ``--protocol`` and the like, as one argument `spoken`."""
    numbers = click.IntRange(0, 65535)
    for option in (
        click.option(
            "--check", metavar="tcp|/PATH", help="Offer it only while a TCP connect, or an HTTP GET of /PATH, succeeds."
        ),
        click.option(
            "--srv",
            multiple=True,
            metavar="ALIAS",
            help="Offer it as _ALIAS._tcp.NAME too, such as etcd-client; repeatable.",
        ),
        click.option(
            "--weight",
            type=numbers,
            metavar="N",
            help=f"SRV weight: its share among equal priorities; default {DEFAULT_WEIGHT}.",
        ),
        click.option(
            "--priority",
            type=numbers,
            metavar="N",
            help=f"SRV priority: clients use the lowest first; default {DEFAULT_PRIORITY}.",
        ),
        click.option("--protocol", type=click.Choice(PROTOCOLS), help="Transport protocol of its port; default tcp."),
    ):
        command = option(command)

    @wraps(command)
    def wrapped(*args: Any, **values: Any) -> Any:
        spoken = Spoken(**{field: values.pop(field) for field in Spoken._fields})
        return command(*args, spoken=spoken, **values)

    return wrapped  # type: ignore[return-value]


def offer_of(words: Sequence[str], spoken: Spoken, usage: str) -> Offer:
    """Returns ``NAME ADDRESS [k=v…]`` as an offer. `usage` is the start of the command, for error texts."""
    name, *rest = words
    if not rest or "=" in rest[0]:
        labels = "".join(f" {shlex.quote(word)}" for word in rest)
        raise click.UsageError(f"the address after '{name}' is missing, as in: {usage} {name} :8080{labels}")
    host, port = parse_address(rest[0])
    return make(port, name, labels_of(rest[1:]), address=host, **spoken.given())


def in_words(offer: Offer) -> str:
    """Returns an offer as arguments of ``md advertise``. Other parts, such as more addresses, become a comment."""
    address = f":{offer.port}" if offer.address is None else join_address(offer.address, offer.port)
    words = ["--", offer.name] if offer.name.startswith("-") else [offer.name]
    words += [address, *(f"{key}={value}" for key, value in offer.labels.items())]
    usual = {"protocol": "tcp", "priority": DEFAULT_PRIORITY, "weight": DEFAULT_WEIGHT}
    flags = [f"--{field} {getattr(offer, field)}" for field, value in usual.items() if getattr(offer, field) != value]
    flags += [f"--srv {alias}" for alias in offer.srv]
    if offer.check:
        flags.append(f"--check {shell_word(offer.check.path or 'tcp')}")
    also = [each for each in offer.addresses if each != offer.address]
    beside = [f"also {', '.join(also)}"] if also else []
    if offer.check and offer.check != Check.of(offer.check.path or "tcp"):
        beside.append("its check has more settings")
    return " ".join([*flags, *map(shell_word, words), *([f" # {'; '.join(beside)}"] if beside else [])])


def at(service: Service) -> str:
    """Returns ``web 100.64.0.1:8080``, with ``/udp`` if the protocol is not TCP."""
    protocol = "" if service.protocol == "tcp" else f"/{service.protocol}"
    return f"{clean(service.name)} {service.endpoint}{protocol}"


def tell(services: Sequence[Service], registry: Registry, settings: Settings, until: str) -> None:
    """Prints two commands that find the advertised service."""
    name, one = services[0].name, "it" if len(services) == 1 else "the first"
    talk(f"advertised, until {until}. To find {one}: {lookup_line(name, settings)}")
    where = registry.addresses[0]
    talk(f"or on any machine of the network: {dig_line(name, settings.apex, where, registry.port)}")


def lookup_line(name: str, settings: Settings) -> str:
    """Returns the command that finds a name on this network, with all settings as options."""
    flags = [("--network", spec) for spec in settings.specs if settings.specs != ("tailscale",)]
    if settings.address:
        flags.append(("--address", settings.address))
    if settings.apex != Name.parse(DEFAULT_DOMAIN):
        flags.append(("--domain", str(settings.apex).rstrip(".")))
    if settings.port != DEFAULT_PORT:
        flags.append(("--port", str(settings.port)))
    words = [word for flag in flags for word in flag]
    return shell_line("md", "lookup", *words, *(["--"] if name.startswith("-") else []), name)


def dig_line(name: str, apex: Name, address: str, port: int) -> str:
    """Returns the ``dig`` command. Octets special to dig or a terminal become ``\\DDD`` (RFC 1035 5.1)."""
    labels = [
        "".join(chr(octet) if octet in _PLAIN and (at or octet != 0x2D) else f"\\{octet:03d}" for at, octet in octets)
        for octets in (enumerate(label) for label in (name.encode(), *apex.labels))
    ]
    # On a terminal dig rejects names that IDNA2008 forbids: with "--", with a hyphen at the end, or with \DDD.
    usual = all(re.fullmatch(r"\w+(-\w+)*", label) for label in labels)
    options = [] if usual else ["+noidnin", "+noidnout"]
    return shell_line("dig", *options, "SRV", ".".join(labels), f"@{address}", "-p", str(port))


def shell_line(*words: str) -> str:
    """Returns a command line that a POSIX shell splits into these words."""
    return " ".join(map(shell_word, words))


def shell_word(text: str) -> str:
    """Returns a quoted word of a command line, with only printable characters, for copying from a terminal."""
    if text.isprintable():
        return shlex.quote(text)
    return "\"$(printf '" + "".join(f"\\{octet:03o}" for octet in text.encode("utf-8", "surrogateescape")) + "')\""
