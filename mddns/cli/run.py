"""``md run``: offers a service for as long as a program runs and its port accepts."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from typing import Final

import click

from ..base.offer import Offer
from ..files.serial_file import state_file
from ..sync import Registry
from .parts.options import Options, common_printing
from .parts.port_accepts import offered
from .parts.registry_when_up import registry_when_up, wait_option
from .parts.service_words import Spoken, offer_of, spoken_options
from .parts.signals import caught, terminal_sends
from .parts.terminal import talk

_PASSED_ON: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_META: Final = "mddns.command"  # what stood behind --
_FORMATS: Final = ("table",)


class _Run(click.Command):
    """Keeps what stands behind ``--`` for CMD; click would mix it with the words in front."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        cut = args.index("--") if "--" in args else len(args)
        ctx.meta[_META] = args[cut + 1 :]
        return super().parse_args(ctx, args[:cut])


@click.command("run", cls=_Run)
@click.argument("words", metavar="NAME ADDRESS [KEY=VALUE]... -- CMD...", nargs=-1, required=True)
@spoken_options
@wait_option
@common_printing(_FORMATS)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    words: tuple[str, ...],
    spoken: Spoken,
    patience: float | None,
    options: Options,
) -> int:
    """Run CMD, and offer a service while its port accepts connections (UDP: while it runs).

    The network is waited for, and CMD is started when it is up.

    CMD has our stdin, stdout and stderr, gets the signals that we get, and its exit code is ours: 128
    and the signal where one ended it, 127 where there is no CMD, 126 where it cannot be run.

    \b
    Examples:
      md run web :8080 env=prod -- python3 -m http.server 8080
      md run syslog :514 --protocol udp -- rsyslogd -n
    """
    options.choose(_FORMATS)  # stdout is CMD's
    argv: list[str] = ctx.meta[_META]
    offer = offer_of(words, spoken, "md run")
    if not argv:
        raise click.UsageError("what to run is missing: it stands behind '--', as in: md run web :8080 -- CMD")
    # A unit's state is CMD's own: it may want its directory to be empty.
    with registry_when_up(options, patience, state_file(of_unit=False)) as registry:
        _not_ours(offer, registry)
        with offered(offer, registry, options.settings):
            return _run(argv)


def _not_ours(offer: Offer, registry: Registry) -> None:
    if offer.port == registry.port and offer.address in (None, *registry.addresses):
        raise click.UsageError(
            f"port {offer.port} is where this node answers for its services: let CMD listen on another one, "
            "or answer elsewhere with --port (MDDNS_PORT), as all nodes of the network must"
        )


def _run(argv: list[str]) -> int:
    """Runs a program to its end, passes signals on; the exit code as a shell has it."""
    with caught(*_PASSED_ON, signal.SIGCHLD) as wait:
        try:
            # Nothing of ours is inherited but 0, 1 and 2 (PEP 446). What Python ignores is as it was.
            pid = os.posix_spawnp(argv[0], argv, os.environ, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
        except (OSError, ValueError) as error:
            return _not_run(argv[0], error)
        # Until its end is taken note of below, its pid is nobody else's.
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is None or ended.si_pid != pid:
            if ended is not None:
                os.waitpid(ended.si_pid, 0)  # an orphan: as process 1 of a container we are its parent by now
                continue
            number = wait(None)
            if number and number != signal.SIGCHLD and not terminal_sends(number):
                os.kill(pid, number)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def _not_run(program: str, error: Exception) -> int:
    number = getattr(error, "errno", None)
    if number == errno.ENOENT and (path := shutil.which(program)):
        talk(f"{path} cannot be run: the interpreter that its first line names does not exist")
        return 126
    if number == errno.ENOENT:
        where = "does not exist" if os.sep in program else "is nowhere in PATH"
        talk(f"{program} cannot be run: it {where}")
        return 127
    remedy = {errno.EACCES: "; is it executable (chmod +x)?", errno.ENOEXEC: "; does its first line begin with #!?"}
    talk(f"{program} cannot be run: {getattr(error, 'strerror', None) or error}{remedy.get(number or 0, '')}")
    return 126
