"""``md``, ``mddns`` and ``python -m mddns``: runs a command; what goes wrong becomes a message and an exit code."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Ends the process: 0 done, 1 nothing found, 2 usage or a bad file, 3 no network, 4 incomplete with --strict."""
    # Text that the terminal's encoding lacks is escaped instead of ending us.
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python must not try to flush it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 0
    sys.exit(code)


def _run() -> int:
    import click

    from .cli import group
    from .cli.output import talk
    from .errors import ConfigError, Error

    try:
        result = group.main(prog_name="md", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except ConfigError as error:
        for problem in error.problems:
            talk(problem)
        return error.exit_code
    except Error as error:
        talk(_message(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _message(error: Exception) -> str:
    # An OSError's str begins with its number, which says nothing to people.
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return str(error)


if __name__ == "__main__":
    main()
