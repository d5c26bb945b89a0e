"""``md``, ``mddns`` and ``python -m mddns``: runs a command, and turns errors into a message and an exit code."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Runs the command line and ends the process with one of the exit codes listed in mddns.cli.parts.topics."""
    try:
        from .cli.parts.streams import CANNOT_WRITE, INTERRUPTED, is_unwritable, prepare, silence

        prepare()
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output closed its end, as `head` does: that is no error.
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
    # At exit, Python runs a garbage collection over all loaded objects: a sixth of the run time of `md find`. All that
    # needs closing is closed by now, and the operating system frees the rest.
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
        # Not group.main(): it exits with 1 if the reader of our output closed its end.
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
    # str() of an OSError begins with the errno, which users do not need.
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return str(error)


if __name__ == "__main__":
    main()
