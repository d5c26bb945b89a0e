"""``md check``: reports the errors of a file, or the services in it. It needs no network."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ..base.errors import ConfigError
from ..base.model import Endpoint, Service
from ..base.names import MAX_LABEL
from ..base.offer import Offer
from ..codec.instance_records import instance_label
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
    """Check files of services: print all errors, or the services of the files. Uses no network.

    Each line of the output is one service, written as the arguments of 'md advertise'. -o selects
    another format; an address such as :8080 there is a port of the machine that advertises the file.
    A label that cannot be part of a name such as web.prod._env.minidisc is reported; it is still valid.

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
                    talk(f"{offer.where}: {offer.name}: the output does not contain its check")
                services.append(_as_service(offer))
            else:
                click.echo(in_words(offer))
        talk(f"{shown(path)}: ok; {len(offers)} service{'' if len(offers) == 1 else 's'}")
    if options.asked:
        print_services(services, options)
    return code


def _as_service(offer: Offer) -> Service:
    """Returns an offer as a service. Without an address of its own, its endpoint is ``:8080``."""
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
    """The endpoint of a port on a machine whose address is not known."""
    return Endpoint.of("", port)


def without_view(offers: list[Offer]) -> Iterator[str]:
    """Yields a remark on each label that cannot be part of a name, with the reason."""
    for offer in offers:
        for key, value in offer.labels.items():
            if view_pair(key, value) is None:
                yield f"{offer.where}: {offer.name}: {key}={value} cannot be part of a name: {_why(key, value)}"


def _why(key: str, value: str) -> str:
    """Returns the reason. The rules are those of `view_pair`."""
    if key.lower() in ("tcp", "udp", "dns-sd", "list"):
        return f"_{key} has a meaning of its own in DNS-SD"
    if len(key) >= MAX_LABEL:
        return f"the key has {len(key)} octets; the limit is {MAX_LABEL - 1}, after the underscore"
    if not key.replace("-", "").isalnum():
        return "in names, a key may have only letters, digits and hyphens"
    if not value:
        return "the value is empty"
    if value.startswith("_"):
        return "in names, a value cannot start with '_'"
    return f"the value has {len(value.encode())} octets; the limit is {MAX_LABEL}"
