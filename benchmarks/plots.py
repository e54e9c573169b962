"""Plots as SVG, written by hand: the same data gives the same bytes."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 150, 40, 45
_COLOURS = ("#1f6feb", "#d1570a", "#6e7781", "#1a7f37")
_STYLE = "font-family:system-ui,sans-serif;font-size:12px;fill:#24292f"

Points = Sequence[tuple[float, float]]


def tail_plot(title: str, shares: Sequence[float], curves: Mapping[str, Sequence[float]]) -> str:
    """Latency in milliseconds, logarithmic, over the share of requests, the further up the wider.

    Args:
        title: Its heading.
        shares: Of requests, ascending, below 1.
        curves: Milliseconds at each share, by name.
    """

    def across(share: float) -> float:
        return -math.log10(1 - share)

    far = across(shares[-1])
    low = min(value for curve in curves.values() for value in curve)
    high = max(value for curve in curves.values() for value in curve)
    bottom, top = math.floor(math.log10(low) * 4) / 4, math.ceil(math.log10(high) * 4) / 4

    def place(share: float, value: float) -> tuple[float, float]:
        x = _LEFT + across(share) / far * (_WIDTH - _LEFT - _RIGHT)
        y = _HEIGHT - _BOTTOM - (math.log10(value) - bottom) / (top - bottom) * (_HEIGHT - _TOP - _BOTTOM)
        return x, y

    parts = [_text(_LEFT, 22, title, bold=True)]
    for share in (0.0, 0.5, 0.9, 0.99, 0.999):
        x, _ = place(share, 10**bottom)
        parts.append(_line((x, _TOP), (x, _HEIGHT - _BOTTOM)))
        parts.append(_text(x, _HEIGHT - _BOTTOM + 18, f"{share * 100:g} %", anchor="middle"))
    parts += _decades(bottom, top, lambda value: place(0.0, value)[1])
    parts.append(_text(_LEFT, _HEIGHT - 8, "share of requests that had their answer within so many ms"))
    names = sorted(curves, key=lambda name: -curves[name][-1])
    ends = _spread([place(shares[-1], curves[name][-1])[1] for name in names])
    for name, y in zip(names, ends, strict=True):
        colour = _COLOURS[list(curves).index(name) % len(_COLOURS)]
        points = [place(share, value) for share, value in zip(shares, curves[name], strict=True)]
        parts.append(_path(points, colour))
        parts.append(_text(_WIDTH - _RIGHT + 8, y + 4, name, colour=colour))
    return _svg(_HEIGHT, parts)


def bar_plot(
    title: str,
    bars: Sequence[tuple[str, float]],
    unit: str,
    ideal: float | None = None,
    mark: str = "ideal",
) -> str:
    """Horizontal bars with their values, and a line at the ideal, or whatever the mark calls it."""
    height = _TOP + 28 * len(bars) + 20
    most = max([value for _, value in bars] + ([ideal] if ideal else []))
    left = 210
    scale = (_WIDTH - left - 110) / most
    parts = [_text(12, 22, title, bold=True)]
    for number, (name, value) in enumerate(bars):
        y = _TOP + 28 * number
        colour = _COLOURS[number % 2]
        parts.append(_text(left - 8, y + 15, name, anchor="end"))
        parts.append(
            f'<rect x="{left}" y="{y}" width="{value * scale:.1f}" height="20" fill="{colour}" rx="2"/>'
        )
        parts.append(_text(left + value * scale + 6, y + 15, f"{value:g} {unit}"))
    if ideal is not None:
        x = left + ideal * scale
        parts.append(_line((x, _TOP - 6), (x, height - 20)))
        parts.append(_text(x, height - 6, f"{mark} {ideal:g}", anchor="middle"))
    return _svg(height, parts)


def _decades(bottom: float, top: float, y_of: Callable[[float], float]) -> list[str]:
    parts = []
    for exponent in range(math.floor(bottom), math.ceil(top) + 1):
        for factor in (1, 2, 5):
            value = factor * 10.0**exponent
            if bottom <= math.log10(value) <= top:
                y = y_of(value)
                parts.append(_line((_LEFT, y), (_WIDTH - _RIGHT, y)))
                parts.append(_text(_LEFT - 8, y + 4, f"{value:g} ms", anchor="end"))
    return parts


def _spread(places: Sequence[float], apart: float = 15) -> list[float]:
    """Places from top to bottom, moved down so that labels do not cover each other."""
    spread: list[float] = []
    for place in places:
        spread.append(max(place, spread[-1] + apart) if spread else place)
    return spread


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False, colour: str = ""
) -> str:
    style = f' text-anchor="{anchor}"' + (' font-weight="600"' if bold else "")
    style += f' style="fill:{colour}"' if colour else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{style}>{escape(text)}</text>'


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#d0d7de"/>'


def _path(points: Points, colour: str) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _svg(height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" style="{_STYLE}">'
    ground = f'<rect width="{_WIDTH}" height="{height:g}" fill="#ffffff" rx="6"/>'
    return "\n".join([head, ground, *parts, "</svg>"]) + "\n"
