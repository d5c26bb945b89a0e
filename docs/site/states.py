"""Draws the states of docs/conformance.md into docs/states-*.svg: `python docs/site/states.py`.

A box is a state, an arrow is a change of state with its reason. Positions are set by hand, in pixels.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Final, NamedTuple

DOCS: Final = Path(__file__).resolve().parents[1]
BOX: Final = (190, 58)
LINE: Final = 14  # pixels between the lines of a text
BEGIN, MIDDLE, END = "#f7f2e6", "#ffffff", "#e8f1fb"


class State(NamedTuple):
    """A box: its name, the lines below the name, its centre, its colour."""

    name: str
    says: str
    x: int
    y: int
    fill: str = MIDDLE


class Change(NamedTuple):
    """An arrow from one state to another, by straight lines through `path`; its text has its left edge at `at`."""

    path: tuple[tuple[int, int], ...]
    says: str
    at: tuple[int, int]


class Drawing(NamedTuple):
    """One drawing: its title, size, states, changes, and more titles inside it, with their places."""

    title: str
    size: tuple[int, int]
    states: tuple[State, ...]
    changes: tuple[Change, ...]
    titles: tuple[tuple[str, int, int], ...] = ()


RESPONDER: Final = Drawing(
    "A responder, for each query under its apex",
    (860, 400),
    (
        State("query", "well-formed, class IN", 120, 200, BEGIN),
        State("own view", "NOERROR or NXDOMAIN, AA", 740, 70, END),
        State("merged view", "NOERROR or NXDOMAIN, AA;\nSERVFAIL with EDE 22", 740, 200, END),
        State("asks first", "queries the peers for _list", 430, 260),
        State("refused", "REFUSED with EDE 18;\nSERVFAIL with EDE 14", 740, 340, END),
    ),
    (
        Change(((120, 171), (120, 70), (645, 70)), "RD=0; or ns, _mddns, the apex itself", (240, 62)),
        Change(((215, 185), (645, 185)), "RD=1, and each peer was queried within 5 s, or a mirror is kept", (240, 177)),
        Change(((215, 215), (270, 215), (270, 260), (335, 260)), "RD=1, and a\npeer is due", (232, 284)),
        Change(
            ((525, 260), (580, 260), (580, 215), (645, 215)),
            "all answered or\nrefused, or the\nwait is over",
            (535, 276),
        ),
        Change(
            ((120, 229), (120, 340), (645, 340)),
            "RD=1 or a transfer without access; RD=1 before a list of peers",
            (140, 358),
        ),
    ),
)

RESOLVER: Final = Drawing(
    "A resolver: one peer in a lookup",
    (860, 640),
    (
        State("pending", "a datagram with an id of its own", 120, 170, BEGIN),
        State("answered", "these services, or none", 740, 80, END),
        State("over TCP", "a message; if partial, AXFR", 430, 170),
        State("refused", "it offers nothing", 740, 260, END),
        State("silent", "its last services stay", 740, 170, END),
        State("new", "never heard of: wait 300 ms", 120, 420, BEGIN),
        State("registry", "wait until the deadline", 430, 420, END),
        State("silent", "wait; the sentence names it", 740, 420),
        State("idle", "refused, or silent for long:\nwait 30 ms", 120, 570),
        State("gone", "its services are dropped", 740, 570),
    ),
    (
        Change(((60, 141), (60, 80), (645, 80)), "NOERROR or NXDOMAIN, and nothing is missing", (90, 72)),
        Change(((215, 170), (335, 170)), "partial: TC, or\nrecords missing", (230, 150)),
        Change(((480, 141), (480, 96), (645, 96)), "all of it came", (490, 112)),
        Change(((525, 170), (645, 170)), "it fails", (545, 162)),
        Change(((60, 199), (60, 275), (645, 275)), "FORMERR, NOTIMP, REFUSED, NOTAUTH; a closed port", (90, 292)),
        Change(
            ((120, 199), (120, 240), (600, 240), (600, 185), (645, 185)),
            "any other rcode; nothing until the end",
            (140, 232),
        ),
        Change(((215, 420), (335, 420)), "answers", (250, 412)),
        Change(((525, 410), (645, 410)), "no answer", (555, 402)),
        Change(((645, 432), (525, 432)), "answers", (560, 448)),
        Change(
            ((740, 449), (740, 541)),
            "30 s after its last\nanswer, and 5 s\nafter the first\nunanswered query",
            (750, 476),
        ),
        Change(((90, 449), (90, 541)), "refuses,\nor no\nanswer", (40, 486)),
        Change(((150, 541), (150, 449)), "never answered:\n60 s after it was\nlast silent", (160, 480)),
        Change(((215, 570), (410, 570), (410, 449)), "answers", (355, 500)),
        Change(((450, 449), (450, 590), (215, 590)), "refuses", (300, 607)),
        Change(((645, 560), (490, 560), (490, 449)), "answers", (500, 500)),
    ),
    (("The standing of a peer, over time (a refusal leads from each state to idle)", 20, 350),),
)

WATCHER: Final = Drawing(
    "A watcher: one host",
    (860, 380),
    (
        State("no session", "the host is queried for _list", 120, 120, BEGIN),
        State("session", "SOA pushed, then IXFR;\nSOA over UDP every 2 s", 720, 120, END),
        State("polled", "_list every 2 s", 720, 310, END),
        State("vanished", "_list up to every 5 or 8 s;\nSOA every 2 s", 120, 310),
    ),
    (
        Change(((215, 105), (625, 105)), "it answers by DNS, and grants the subscription", (250, 97)),
        Change(
            ((625, 135), (215, 135)), "the session ends: SOA over TCP after 10 ms,\n_list again 50 ms later", (290, 152)
        ),
        Change(
            ((215, 144), (250, 144), (250, 235), (690, 235), (690, 281)),
            "it refuses the session, or 1,000 sessions exist",
            (330, 228),
        ),
        Change(((750, 281), (750, 149)), "its time is\nover, and it\naccepts", (757, 205)),
        Change(((660, 149), (660, 190), (190, 190), (190, 281)), "three SOA queries without an answer", (330, 183)),
        Change(((625, 310), (215, 310)), "three queries without an answer", (310, 302)),
        Change(((60, 281), (60, 149)), "it answers,\nor sends\na query", (66, 205)),
        Change(((140, 149), (140, 281)), "refuses", (144, 250)),
    ),
)

DRAWINGS: Final = {"responder": RESPONDER, "resolver": RESOLVER, "watcher": WATCHER}


def text(lines: str, x: int, y: int, *, anchor: str = "start") -> str:
    """Lines of small text, one below the other."""
    return "".join(
        f'<text x="{x}" y="{y + number * LINE}" font-size="11" text-anchor="{anchor}" fill="#444">{escape(line)}</text>'
        for number, line in enumerate(lines.splitlines())
    )


def title(words: str, x: int, y: int) -> str:
    """A title."""
    return f'<text x="{x}" y="{y}" font-size="15" font-weight="bold" fill="#222">{escape(words)}</text>'


def draw(drawing: Drawing) -> str:
    """The whole of one drawing."""
    width, height = drawing.size
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        '<defs><marker id="tip" markerWidth="7" markerHeight="6" refX="6" refY="3" orient="auto">'
        '<path d="M0,0 L7,3 L0,6 z" fill="#667"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        title(drawing.title, 20, 26),
        *(title(*each) for each in drawing.titles),
    ]
    for change in drawing.changes:
        points = " ".join(f"{x},{y}" for x, y in change.path)
        out.append(f'<polyline points="{points}" fill="none" stroke="#667" stroke-width="1.2" marker-end="url(#tip)"/>')
        out.append(text(change.says, *change.at))
    for state in drawing.states:
        left, top = state.x - BOX[0] // 2, state.y - BOX[1] // 2
        lines = len(state.says.splitlines())
        out.append(
            f'<rect x="{left}" y="{top}" width="{BOX[0]}" height="{BOX[1]}" rx="6" fill="{state.fill}" stroke="#889"/>'
            f'<text x="{state.x}" y="{top + 25 - 5 * (lines - 1)}" font-size="14" font-weight="bold" '
            f'text-anchor="middle" fill="#222">{escape(state.name)}</text>'
            + text(state.says, state.x, top + 44 - 7 * (lines - 1), anchor="middle")
        )
    return "\n".join((*out, "</svg>")) + "\n"


def files() -> dict[Path, str]:
    """Each file that this script writes, with its content."""
    return {DOCS / f"states-{name}.svg": draw(drawing) for name, drawing in DRAWINGS.items()}


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, "utf-8")
