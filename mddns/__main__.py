"""``md``, ``mddns`` and ``python -m mddns``: runs a command; what goes wrong becomes a message and an exit code."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Ends the process with one of the codes that mddns.cli.parts.topics tells."""
    try:
        from .cli.parts.streams import CANNOT_WRITE, INTERRUPTED, is_unwritable, prepare, silence

        prepare()
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        silence(1)
        code = 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        if not is_unwritable(error):
            raise
        silence(1)
        from .cli.parts.terminal import talk

        talk(f"standard output cannot be written: {error.strerror}")
        code = CANNOT_WRITE
    # As it ends, Python looks through all that was ever loaded for garbage: a sixth of the time that `md find` takes.
    # What has to be closed was closed, and the rest the system takes back at once.
    gc.freeze()
    sys.exit(code)


def _run() -> int:
    if "_MD_COMPLETE" in os.environ:
        from .cli.parts.suggest import complete

        return complete()
    import click

    from .base.errors import ConfigError, Error
    from .cli import group
    from .cli.parts.terminal import fail_softly, talk

    try:
        # Not by group.main(), which ends with 1 where a reader of ours has seen enough.
        with group.make_context("md", sys.argv[1:]) as context:
            result = group.invoke(context)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        fail_softly(error)
        return error.exit_code
    except ConfigError as error:
        for problem in error.problems:
            talk(problem, "error")
        return error.exit_code
    except Error as error:
        talk(_message(error), "error")
        return error.exit_code


def _message(error: Exception) -> str:
    # An OSError's str begins with its number, which says nothing to people.
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return str(error)


if __name__ == "__main__":
    main()
