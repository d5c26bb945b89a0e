"""``md advertise``: offers services for as long as it runs."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ..errors import ConfigError
from ..model import Service
from ..offer import Offer, make, parse_address
from ..sync import Registry
from .options import Options, common, labels_of
from .output import clean, talk


@click.command("advertise")
@click.argument("words", metavar="NAME ADDRESS [KEY=VALUE]... | FILE | -", nargs=-1, required=True)
@common
def command(words: tuple[str, ...], options: Options) -> int:
    """Offer one service, or those of a YAML file ('-': standard input), until Ctrl-C or SIGTERM.

    ADDRESS is :8080 for a port of this machine, or ip:port for a service of another.

    \b
    Examples:
      md advertise web :8080 env=prod
      md advertise my-services.yaml
    """
    offers = _from_file(words[0]) if len(words) == 1 else [_from_words(words)]
    with until_stopped() as wait, Registry(options.settings) as registry:
        handles = [registry.advertise(offer) for offer in offers]
        services = [handle.service for handle in handles]
        for service in services:
            click.echo(f"{clean(service.name)} {service.endpoint}")
        _tell(services, registry, options)
        wait()
    return 0


def _from_words(words: tuple[str, ...]) -> Offer:
    name, address, *labels = words
    if "=" in address:
        raise click.UsageError(f"an address is missing behind '{name}', as in: md advertise {name} :8080 {address}")
    host, port = parse_address(address)
    return make(port, name, labels_of(labels), address=host)


def _from_file(path: str) -> list[Offer]:
    from ..config import read_config

    source = "standard input" if path == "-" else path
    try:
        octets = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{source}:{line}: octet {octets[error.start]:#04x} is not UTF-8: save the file as UTF-8"
        ) from None
    except FileNotFoundError:
        raise ConfigError(
            f"there is no file {path!r}; to offer a service of that name: md advertise {path} :PORT"
        ) from None
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror}") from None
    return read_config(text, source)


def _tell(services: list[Service], registry: Registry, options: Options) -> None:
    name, apex = services[0].name, options.settings.apex
    talk(f"advertised, until Ctrl-C. To find it: md lookup {name}")
    where = registry.addresses[0]
    qname = f"{name}.{apex}".rstrip(".")
    talk(f"or on any machine of the network: dig SRV {qname} @{where} -p {options.settings.port}")


@contextmanager
def until_stopped() -> Iterator[Callable[[], None]]:
    """Gives a function that waits for SIGINT or SIGTERM. From here on these do nothing else."""
    stopped = threading.Event()
    previous = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}

    def wait() -> None:
        while not stopped.wait(3600):
            pass

    try:
        yield wait
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
