"""The environment variables, exit codes and formats, for ``md --help`` and the man page."""

from __future__ import annotations

from typing import Final

ENVIRONMENT: Final = {
    "MDDNS_…": "Same as the option that names the variable. The option overrides it. MDDNS_NETWORK takes several "
    "networks, separated by spaces; MDDNS_STRICT is 1 or 0.",
    "MDDNS_WAIT": "Same as --wait of advertise and run: seconds to wait for the network.",
    "TS_SOCKET": "Path of the Tailscale daemon's socket, if it is not the usual one.",
    "XDG_CACHE_HOME": "Directory of mddns/peers.json: which peers answered, and how fast; default ~/.cache.",
    "XDG_STATE_HOME": "Directory of mddns/serials.json: the zone serials already used; default ~/.local/state.",
    "NO_COLOR": "If set, md prints no bold text on a terminal.",
}

EXIT_CODES: Final = {
    "0": "Success. list of a network without services returns 0 too.",
    "1": "Nothing found. doctor: a check failed. setup: the file is written, but the reload failed.",
    "2": "Wrong usage, or a file with errors.",
    "3": "The network could not be queried.",
    "4": "A registry did not answer, and --strict was given.",
    "74": "Standard output could not be written to.",
    "130": "Ended by Ctrl-C. advertise and demo return 0 instead, once they have started.",
    "126, 127": "run: the program cannot run (126) or does not exist (127). Otherwise run returns the program's code.",
}

FORMAT_WORDS: Final = {
    "table": "Columns. On a narrow terminal the labels are shortened; in a pipe they never are.",
    "wide": "Also protocol, priority and weight, owner, tags, the node that reported it, age and round-trip time.",
    "json": "One array of objects (docs/json.md, version 1). New keys may be added; none is removed or changed.",
    "jsonl": "The same objects, one per line.",
    "yaml": "A file that md advertise reads.",
    "name": "One ip:port per line; the default of find, leader and wait.",
    "zone": "A zone file (RFC 1035) that md advertise reads.",
}
