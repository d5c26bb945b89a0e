"""``md advertise``: offers services for as long as the process runs."""

from __future__ import annotations

import signal

import click

from ..base.offer import Offer
from ..files.serial_file import state_file
from ..sync import Registry
from .parts.options import Options, common
from .parts.output import print_services
from .parts.registry_when_up import registry_when_up, wait_option
from .parts.reload import Reloader
from .parts.service_files import can_be_read_again, complete_file, read_offers, shown
from .parts.service_files import stamp as stamp_of
from .parts.service_words import Spoken, at, offer_of, shell_word, spoken_options, tell
from .parts.signals import Wait, caught, has_terminal
from .parts.systemd_notify import notify, reloading
from .parts.terminal import talk


@click.command("advertise")
@click.argument(
    "words", metavar="NAME ADDRESS [KEY=VALUE]... | FILE | -", nargs=-1, required=True, shell_complete=complete_file
)
@spoken_options
@wait_option
@common
def command(words: tuple[str, ...], spoken: Spoken, patience: float | None, options: Options) -> int:
    """Offer one service, or all services of a file, until Ctrl-C or SIGTERM.

    ADDRESS is :8080 for a port of this machine, or ip:port for a service on another machine.

    FILE is a YAML file or a zone file; '-' reads standard input. A file is a zone file if its name
    ends in .zone or its first line looks like one; each SRV record is a service. md reads the file
    again when it changes, and on SIGHUP. If the file then has errors, the services stay unchanged.

    If the network is not up yet, md waits for it.

    \b
    Examples:
      md advertise web :8080 env=prod
      md advertise my-services.yaml
    """
    if len(words) > 1:
        _words(offer_of(words, spoken, "md advertise"), patience, options)
    elif given := next(iter(spoken.given()), None):
        raise click.UsageError(f"--{given} needs NAME ADDRESS; in a file, set '{given}' for each service")
    else:
        _file(words[0], patience, options)
    return 0


def _words(offer: Offer, patience: float | None, options: Options) -> None:
    with caught(signal.SIGINT, signal.SIGTERM) as wait, _registry(options, patience, wait) as registry:
        registry.replace([offer])
        _told(registry, options)
        wait(None)
        notify("STOPPING=1")


def _file(path: str, patience: float | None, options: Options) -> None:
    apex, word = options.settings.apex, shell_word(path)
    again, stamp = can_be_read_again(path), stamp_of(path)
    offers, remarks = read_offers(path, apex, f"; to offer a service of that name: md advertise {word} :PORT")
    for remark in remarks:
        talk(remark)
    with (
        caught(signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if again else ())) as wait,
        _registry(options, patience, wait) as registry,
    ):
        registry.replace(offers)
        _told(registry, options)
        if not offers:
            talk(f"{shown(path)}: the file has no services, so none are advertised")
        if again:
            _follow(Reloader(path, apex, registry, stamp), registry, wait)
        else:
            wait(None)
        notify("STOPPING=1")


def _registry(options: Options, patience: float | None, wait: Wait) -> Registry:
    """Waits for the network and returns a registry."""
    at_terminal = has_terminal()

    def pause(seconds: float) -> None:
        number = wait(seconds)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if _ends(number, at_terminal):
            raise click.exceptions.Exit(0)

    return registry_when_up(options, patience, state_file(), pause)


def _ends(number: int | None, at_terminal: bool) -> bool:
    """Whether a signal ends the command. SIGHUP does only if the terminal that started the command has closed."""
    return number is not None and (number != signal.SIGHUP or (at_terminal and not has_terminal()))


def _follow(reloader: Reloader, registry: Registry, wait: Wait) -> None:
    """Applies changes of the file until a signal ends the command (see `_ends`)."""
    at_terminal = has_terminal()
    while True:
        number = wait(reloader.pause)
        if number is None:
            if reloader.look():
                notify(status=_count(registry))
        elif _ends(number, at_terminal):
            return
        else:
            reloading()
            reloader.reload(asked=True)
            notify("READY=1", status=_count(registry))


def _count(registry: Registry) -> str:
    count = len(registry.services())
    return f"{count} service{'s' if count != 1 else ''} advertised"


def _told(registry: Registry, options: Options) -> None:
    services, held = registry.services(), registry.held_back()
    notify("READY=1", status=_count(registry))
    if options.asked:
        print_services(services, options)
    else:
        for service in services:
            click.echo(at(service))
    for service in held:
        talk(f"held back until its check passes: {at(service)}")
    if services or held:
        tell(services or held, registry, options.settings, "Ctrl-C")
