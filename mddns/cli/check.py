"""``md check``: whether a file is right, and what would be advertised. It needs no network."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ..base.errors import ConfigError
from ..base.model import Endpoint, Service
from ..base.names import MAX_LABEL
from ..base.offer import Offer
from ..codec.instance import instance_label
from ..zone.zone import view_pair
from .parts.options import Options, common
from .parts.output import print_services
from .parts.service_files import complete_file, read_offers, shown
from .parts.service_words import in_words
from .parts.terminal import talk


@click.command("check")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, shell_complete=complete_file)
@common
def command(files: tuple[str, ...], options: Options) -> int:
    """Is this file right? Say all that is wrong with it, else what it offers. It asks no network.

    Each line that it prints is a service, as one would type it behind 'md advertise'; -o prints
    them in another format, where :8080 is a port of whichever machine offers it. Label pairs
    that no name such as web.prod._env.minidisc can ask for are told; all the same they are labels.

    \b
    Examples:
      md check my-services.yaml
      md check zones/*.zone -o json
    """
    code, services = 0, []
    for path in files:
        try:
            offers, remarks = read_offers(path, options.settings.apex)
        except ConfigError as error:
            for problem in error.problems:
                talk(problem)
            code = error.exit_code
            continue
        for remark in (
            *remarks,
            *without_view(offers),
            *(f"{each.where}: {why}" for each in offers if (why := each.out_of_reach())),
        ):
            talk(remark)
        for offer in offers:
            if options.asked:
                if offer.check and options.asked == "yaml":
                    talk(f"{offer.where}: {offer.name}: its check is in no output")
                services.append(_as_service(offer))
            else:
                click.echo(in_words(offer))
        talk(f"{shown(path)}: right; {len(offers)} service{'' if len(offers) == 1 else 's'}")
    if options.asked:
        print_services(services, options)
    return code


def _as_service(offer: Offer) -> Service:
    """An offer as a service of nobody yet: without an address of its own, it is at ``:8080``."""
    endpoint = Endpoint.of(offer.address, offer.port) if offer.address else _here(offer.port)
    addresses = offer.addresses or ((offer.address,) if offer.address else ())
    return Service(
        offer.name,
        offer.labels,
        endpoint,
        addresses,
        offer.protocol,
        offer.priority,
        offer.weight,
        instance=instance_label("this-machine", "", offer.port, offer.protocol) if not offer.address else "",
        srv=offer.srv,
    )


def _here(port: int) -> Endpoint:
    """A port of a machine whose address is not known."""
    return Endpoint.of("", port)


def without_view(offers: list[Offer]) -> Iterator[str]:
    """A word on each label pair that has no view, and why."""
    for offer in offers:
        for key, value in offer.labels.items():
            if view_pair(key, value) is None:
                yield f"{offer.where}: {offer.name}: {key}={value} has no view: {_why(key, value)}"


def _why(key: str, value: str) -> str:
    """The rules are `view_pair`'s."""
    if key.lower() in ("tcp", "udp", "dns-sd", "list"):
        return f"_{key} has a meaning of its own in DNS-SD"
    if len(key) >= MAX_LABEL:
        return f"a key of {len(key)} octets; at most {MAX_LABEL - 1} fit beside the underscore"
    if not key.replace("-", "").isalnum():
        return "in names, a key has letters, digits and hyphens alone"
    if not value:
        return "there is no value to ask for"
    if value.startswith("_"):
        return "in names, a value cannot start with '_'"
    return f"a value of {len(value.encode())} octets; at most {MAX_LABEL} fit"
