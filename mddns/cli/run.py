"""``md run``: runs a program and offers its service while its port accepts connections."""

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
_META: Final = "mddns.command"  # the words after --
_FORMATS: Final = ("table",)


class _Run(click.Command):
    """Keeps the words after ``--`` for CMD; click would mix them with the words before it."""

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
    """Run CMD and offer a service while its port accepts connections (UDP: while CMD runs).

    md waits for the network, then starts CMD.

    CMD uses the stdin, stdout and stderr of md. md passes signals on to it and returns its exit code:
    128 plus the signal number if a signal ended it, 127 if CMD does not exist, 126 if it cannot run.

    \b
    Examples:
      md run web :8080 env=prod -- python3 -m http.server 8080
      md run syslog :514 --protocol udp -- rsyslogd -n
    """
    options.choose(_FORMATS)  # stdout is CMD's
    argv: list[str] = ctx.meta[_META]
    offer = offer_of(words, spoken, "md run")
    if not argv:
        raise click.UsageError("the command to run is missing; write it after '--', as in: md run web :8080 -- CMD")
    # The state directory of a systemd unit belongs to CMD, which may need it to be empty.
    with registry_when_up(options, patience, state_file(of_unit=False)) as registry:
        _not_ours(offer, registry)
        with offered(offer, registry, options.settings):
            return _run(argv)


def _not_ours(offer: Offer, registry: Registry) -> None:
    if offer.port == registry.port and offer.address in (None, *registry.addresses):
        raise click.UsageError(
            f"port {offer.port} is the port where mddns itself answers: let CMD listen on another port, "
            "or change the port of mddns with --port (MDDNS_PORT), on all nodes of the network"
        )


def _run(argv: list[str]) -> int:
    """Runs a program to its end and passes signals on to it. Returns the exit code that a shell would return."""
    with caught(*_PASSED_ON, signal.SIGCHLD) as wait:
        try:
            # CMD inherits only descriptors 0, 1 and 2 (PEP 446). Signals that Python ignores get their default back.
            pid = os.posix_spawnp(argv[0], argv, os.environ, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
        except (OSError, ValueError) as error:
            return _not_run(argv[0], error)
        # WNOWAIT: the pid stays reserved until waitpid below, so os.kill cannot reach another process.
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is None or ended.si_pid != pid:
            if ended is not None:
                os.waitpid(ended.si_pid, 0)  # an orphan: process 1 of a container becomes the parent of all orphans
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
        where = "does not exist" if os.sep in program else "is not in PATH"
        talk(f"{program} cannot be run: it {where}")
        return 127
    remedy = {errno.EACCES: "; is it executable (chmod +x)?", errno.ENOEXEC: "; does its first line begin with #!?"}
    talk(f"{program} cannot be run: {getattr(error, 'strerror', None) or error}{remedy.get(number or 0, '')}")
    return 126
