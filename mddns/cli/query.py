"""``md query``: sends one DNS query to every peer and prints each response."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from ..base.errors import BadMessage, ConfigError, NetworkError
from ..base.names import Name
from ..directory.peer_memory import Standing
from ..dns.message import Message
from ..dns.presentation import rcode_text, record_text, type_number
from ..lookup.asked_peer import Ask, Outcome
from ..lookup.fanout import Lookup
from ..lookup.sockets import run
from ..resolver import STATUS_TIMEOUT
from ..system import clock
from .parts.options import Options, common_printing
from .parts.terminal import clean, talk

_FORMATS: Final = ("table", "json", "jsonl")


@click.command("query")
@click.argument("name")
@click.argument("rtype", metavar="[TYPE]", default="SRV")
@common_printing(_FORMATS)
def command(name: str, rtype: str, options: Options) -> int:
    """Send one DNS query (RD=0) to every peer and show the response of each.

    NAME is relative to the zone, unless it ends with the zone's name or with a dot. TYPE is a record
    type; default SRV.

    \b
    Examples:
      md query web
      md query _list PTR -o json
    """
    output = options.choose(_FORMATS)
    apex = options.settings.apex
    qname, number = _qname(name, apex), type_number(rtype)
    snapshot = options.settings.network.read(STATUS_TIMEOUT)
    peers = [(peer, Standing.REGISTRY) for peer in snapshot.everyone() if peer.asked]
    lookup = Lookup(apex, qname.wire, number, peers, clock.now(), timeout=options.settings.timeout)
    run(lookup, clock.now)
    asks = sorted(lookup.asks, key=lambda ask: (ask.message is None, ask.outcome.value, ask.peer.shown))
    if output == "json":
        click.echo(json.dumps([_as_json(ask) for ask in asks], indent=2))
    elif output == "jsonl":
        for ask in asks:
            click.echo(json.dumps(_as_json(ask)))
    else:
        for ask in asks:
            _show(ask)
    answered = [ask for ask in asks if ask.message]
    if not answered:
        closed = f"no registry runs on this network, or a firewall blocks port {options.settings.port}"
        talk(f"none of {len(asks)} peers answered: {closed}")
    silent = lookup.outcomes(Outcome.SILENT)
    if silent and not answered and not lookup.outcomes(Outcome.REFUSED):
        return NetworkError.exit_code  # a refused connection would prove that the network works
    if options.strict and silent:
        return 4
    return 0 if any(Message(ask.message).answer for ask in answered if ask.message) else 1


def _qname(text: str, apex: Name) -> Name:
    try:
        absolute = Name.parse(text)
        return absolute if text.endswith(".") or absolute.relative_to(apex) is not None else Name.parse(text, apex)
    except BadMessage as error:
        raise ConfigError(f"name {error}") from None


def _show(ask: Ask) -> None:
    where = f"{clean(ask.peer.shown)} {ask.peer.addresses[0]}"
    if ask.message is None:
        click.echo(f"{where}  {ask.outcome.value}")
        return
    message = Message(ask.message)
    took = "" if ask.rtt is None else f"  {ask.rtt * 1000:.1f} ms"
    click.echo(f"{where}  {rcode_text(message.rcode)}{took}")
    for section in (message.answer, message.additional):
        for record in section:
            click.echo(f"  {clean(record_text(message, record))}")


def _as_json(ask: Ask) -> dict[str, Any]:
    message = Message(ask.message) if ask.message else None
    return {
        "peer": ask.peer.shown,
        "address": ask.peer.addresses[0],
        "outcome": ask.outcome.value,
        "rcode": rcode_text(message.rcode) if message else None,
        "rttMs": None if ask.rtt is None else round(ask.rtt * 1000, 2),
        "answer": [record_text(message, record) for record in message.answer] if message else [],
        "additional": [record_text(message, record) for record in message.additional] if message else [],
    }
