"""The two plots of a run, written as SVG: rates by program, and the fan-out over N."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from .targets import at

_OURS: Final = "#0b6e4f"
_OTHERS: Final = "#9aa5b1"
_TEXT: Final = 'font-family="system-ui, sans-serif" fill="#222"'
_COLOURS: Final = ("#0b6e4f", "#5b8c5a", "#c8553d", "#e09f3e", "#335c81", "#7d5ba6", "#9aa5b1")


def rates(results: Mapping[str, Any]) -> str:
    """Queries per second: a block of bars for each workload, with the ratio to the echo after each bar."""
    blocks: Mapping[str, Any] = at(results, "responder.workloads") or {}
    about: Mapping[str, str] = at(results, "responder.about") or {}
    top = max((row["qps"] for rows in blocks.values() for row in rows.values()), default=1)
    left, width, bar = 90, 470, 17
    parts, y = [_text(16, 24, "Right answers a second, one core each; behind it, × the Python echo", 15)], 40
    for workload, rows in blocks.items():
        y += 20
        parts.append(_text(16, y, f"{workload}: {about.get(workload, '')}", 12, bold=True))
        y += 8
        for name, row in sorted(rows.items(), key=lambda item: -item[1]["qps"]):
            length = max(1.0, row["qps"] / top * width)
            colour = _OURS if name == "mddns" else _OTHERS
            of_echo = f", {row['of_echo']:.2f} ×" if "of_echo" in row else ""
            parts += [
                _text(left - 8, y + 12, name, 12, anchor="end", bold=name == "mddns"),
                f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar - 3}" fill="{colour}"/>',
                _text(left + length + 6, y + 12, f"{row['qps']:,}{of_echo}", 12),
            ]
            y += bar
    return _page(720, y + 40, [*parts, _text(16, y + 26, _machine(results), 11)])


def fanout(results: Mapping[str, Any]) -> str:
    """Wall time over the number of peers, both on logarithmic axes."""
    lines = _lines(results)
    left, right, top, bottom = 80, 530, 48, 380
    points = [point for line in lines.values() for point in line]
    if not points:
        return _page(720, 60, [_text(16, 30, "the fan-out was not measured", 14)])
    xs = _decades([x for x, _ in points])
    ys = _decades([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (math.log10(x) - xs[0]) / (xs[-1] - xs[0]) * (right - left),
            bottom - (math.log10(y) - ys[0]) / (ys[-1] - ys[0]) * (bottom - top),
        )

    parts = [_text(16, 24, "resolve, nothing known beforehand: ms over the number of peers", 15)]
    for decade in xs:
        x, _ = place(10**decade, 10 ** ys[0])
        parts += [_line(x, top, x, bottom), _text(x, bottom + 18, f"{10**decade:,}", 12, anchor="middle")]
    for decade in ys:
        _, y = place(10 ** xs[0], 10**decade)
        parts += [_line(left, y, right, y), _text(left - 8, y + 4, f"{10**decade:,g} ms", 12, anchor="end")]
    ends = []
    for (name, line), colour in zip(lines.items(), _COLOURS, strict=False):
        path = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in line)
        stroke = "2.5" if name.startswith("mddns") else "1.5"
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{stroke}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in (place(*p) for p in line)]
        ends.append((place(*line[-1])[1], name, colour))
    y = 0.0
    for wanted, name, colour in sorted(ends):
        y = max(wanted + 4, y + 16)  # so that names do not overlap
        parts.append(_text(right + 12, y, name, 12, colour=colour))
    return _page(720, bottom + 60, [*parts, _text(16, bottom + 46, _machine(results), 11)])


def _lines(results: Mapping[str, Any]) -> dict[str, list[tuple[int, float]]]:
    kinds: Mapping[str, Any] = at(results, "fanout.kinds") or {}
    others: Mapping[str, Any] = at(results, "fanout.others") or {}
    lines: dict[str, list[tuple[int, float]]] = {}
    for kind, label in (("differ", "mddns, all differ"), ("alike", "mddns, answers alike")):
        lines[label] = _over(kinds.get(kind, {}), ("mddns_ms",))
    lines["mddns, 1 of 10 refusing"] = _over(kinds.get("refusing", {}), ("mddns_ms",))
    for way, label in (("minidisc", "Minidisc's client"), ("dnspython", "dnspython"), ("aiodns", "aiodns")):
        lines[label] = _over(others, (way, "ms"))
    lines["bare send and receive"] = _over(kinds.get("alike", {}), ("bare_ms",))
    return {label: line for label, line in lines.items() if line}


def _over(scenes: Mapping[str, Any], path: Sequence[str]) -> list[tuple[int, float]]:
    found = ((count, at(scene, ".".join(path))) for count, scene in scenes.items() if count.isdecimal())
    return sorted((int(count), value) for count, value in found if value)


def _decades(values: Sequence[float]) -> range:
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return range(first, max(last, first + 1) + 1)


def _machine(results: Mapping[str, Any]) -> str:
    facts: Mapping[str, Any] = at(results, "machine") or {}
    return f"{facts.get('cpu')}, {facts.get('cores')} cores, {facts.get('system')}, {facts.get('python')}"


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _text(
    x: float, y: float, text: str, size: int, *, anchor: str = "start", bold: bool = False, colour: str | None = None
) -> str:
    style = _TEXT if colour is None else _TEXT.replace("#222", colour)
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{weight} {style}>{escape(text)}</text>'
    )


def _page(width: int, height: int, parts: Sequence[str]) -> str:
    inside = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n{inside}\n</svg>\n'
    )
