"""``md demo``: runs three nodes on this machine."""

from __future__ import annotations

import click

from ..demo import running
from ..networks.settings import Settings
from ..resolver import Resolver
from .parts.options import Options, common
from .parts.output import print_services
from .parts.signals import until_stopped
from .parts.terminal import talk


@click.command("demo")
@click.option("--once", is_flag=True, help="Print the services and exit.")
@common
def command(once: bool, options: Options) -> int:
    """Run three nodes with example services on 127.0.0.1, and show how to find them.

    \b
    Examples:
      md demo
      md demo --once
    """
    domain = str(options.settings.apex).rstrip(".")
    with until_stopped() as wait, running(domain) as demo:
        with Resolver.of(Settings.of(demo.network, domain=domain), demo.memory()) as resolver:
            print_services(resolver.list_services(), options)
        port = demo.ports["bravo"]
        lines = [
            f"Three nodes run on 127.0.0.1: {', '.join(f'{name} (port {p})' for name, p in demo.ports.items())}.",
            "Any node answers for the whole network. In another terminal:",
            "",
            f"  dig @127.0.0.1 -p {port} web.{domain} SRV",
            f"  dig @127.0.0.1 -p {port} web.us._region.{domain} SRV +short",
            "",
            f"  export MDDNS_NETWORK={demo.network}",
            "  md lookup web env=prod",
            "  md find db",
        ]
        click.echo("\n" + "\n".join(lines), err=True)
        if not once:
            talk("running until Ctrl-C")
            wait()
    return 0
