"""What ``md --help`` and the man page tell beside commands and options."""

from __future__ import annotations

from typing import Final

ENVIRONMENT: Final = {
    "MDDNS_…": "As the option that it stands beside. The option counts first; MDDNS_NETWORK holds several "
    "separated by spaces, MDDNS_STRICT is 1 or 0.",
    "MDDNS_WAIT": "As --wait of advertise and run: seconds to wait for the network.",
    "TS_SOCKET": "The socket of the Tailscale daemon, where it is not in its usual place.",
    "XDG_CACHE_HOME": "Where mddns/peers.json is: who answered, how fast; default ~/.cache.",
    "XDG_STATE_HOME": "Where mddns/serials.json is: serials given out; default ~/.local/state.",
    "NO_COLOR": "Set: nothing is bold on a terminal.",
}

EXIT_CODES: Final = {
    "0": "Found, or done; list of an empty network too.",
    "1": "Nothing found; doctor: something is broken; setup: the file is there, and its reader did not take it.",
    "2": "Wrong usage, or a wrong file.",
    "3": "The network could not be asked.",
    "4": "A registry was silent, with --strict.",
    "74": "Standard output could not be written.",
    "130": "Ended by Ctrl-C; advertise and demo, once they have begun, end so with 0.",
    "126, 127": "run: its program cannot be run, or is not there. Else its own exit code.",
}

FORMAT_WORDS: Final = {
    "table": "Columns. On a terminal that is too narrow labels are shortened, never in a pipe.",
    "wide": "The same with protocol, priority and weight, owner, tags, the node that said it, age and round trip.",
    "json": "One array of objects, version 1 of docs/json.md: keys may come, none goes or changes.",
    "jsonl": "The same objects, one a line.",
    "yaml": "A file that md advertise reads.",
    "name": "An ip:port a line; what find prints unless told otherwise.",
    "zone": "A zone file (RFC 1035) that md advertise reads.",
}
