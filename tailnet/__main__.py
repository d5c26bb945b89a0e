"""``python -m tailnet [PYTEST ARGUMENT…]``: gets the programs, then runs the tests on a real tailnet.

Exits with pytest's code, or with 3 and an error message if there is no tailnet.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from . import binaries, possible

NOT_RUN = 3


def main() -> int:
    """Runs the command line."""
    reason = possible.why_not()
    if reason is None:
        try:
            binaries.get()
        except binaries.Missing as error:
            reason = str(error)
    if reason is not None:
        sys.stdout.flush()
        sys.stderr.write(f"\n{'!' * 100}\nTHE REAL TAILNET DID NOT RUN: {reason}\n{'!' * 100}\n\n")
        return NOT_RUN
    here = Path(__file__).parent
    given = sys.argv[1:]
    places = [] if any(each.startswith("tailnet/") for each in given) else [str(here)]
    argv = [sys.executable, "-m", "pytest", "--rootdir", str(here.parent), *given, *places]
    return subprocess.run(argv, cwd=here.parent, check=False, env={**os.environ, possible.WANTED: "1"}).returncode


if __name__ == "__main__":
    sys.exit(main())
