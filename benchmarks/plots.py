"""Plots as SVG by matplotlib: the same data give the same bytes with the pinned version.

Each file carries the data that it shows, as JSON in the description of its metadata.
"""

import io

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.registry import BarPlot, LatencyPlot, Plot

_STYLE = {
    "svg.hashsalt": "facet",  # the ids of elements would be random
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#d0d7de",
}
_COLOURS = ("#1f6feb", "#d1570a", "#6e7781", "#1a7f37")
_SHARES = (0.0, 0.5, 0.9, 0.99, 0.999)


def draw(plot: Plot) -> str:
    """The SVG of a plot."""
    height = 1.2 + 0.3 * len(plot.bars) if isinstance(plot, BarPlot) else 3.6
    with mpl.rc_context(_STYLE):
        figure = Figure((7.5, height), layout="constrained")
        axes = figure.subplots()
        axes.set_title(plot.title, loc="left")
        if isinstance(plot, BarPlot):
            _bars(axes, plot)
        elif isinstance(plot, LatencyPlot):
            _latencies(axes, plot)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Description": plot.data()})
    return file.getvalue()


def _bars(axes: Axes, plot: BarPlot) -> None:
    """Horizontal bars from top to bottom, each series in a colour of its own."""
    colours = dict(zip(dict.fromkeys(bar.series for bar in plot.bars), _COLOURS, strict=False))
    for series, colour in colours.items():
        places = [place for place, bar in enumerate(plot.bars) if bar.series == series]
        drawn = axes.barh(places, [plot.bars[place].value for place in places], color=colour, label=series)
        # On white, because the mark may cross them.
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axes.bar_label(drawn, fmt="{:g}", padding=4, bbox=box)
    axes.set_yticks(range(len(plot.bars)), [bar.name for bar in plot.bars])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(plot.axis)
    axes.margins(x=0.1)
    axes.grid(axis="x")
    if plot.mark:
        name, value = plot.mark
        axes.axvline(value, color="black", linestyle="--", linewidth=1, label=f"{name}: {value:g}")
    if plot.mark or len(colours) > 1:
        axes.figure.legend(loc="outside right center")


def _latencies(axes: Axes, plot: LatencyPlot) -> None:
    """Milliseconds over the share of requests; both logarithmic, the latter towards 100 %."""
    for (name, curve), colour in zip(plot.curves.items(), _COLOURS, strict=False):
        axes.plot([1 / (1 - share) for share in plot.shares], curve, color=colour, label=name, linewidth=2)
    axes.set_xscale("log")
    axes.set_xticks([1 / (1 - share) for share in _SHARES], [f"{share * 100:g} %" for share in _SHARES])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("share of requests answered within that time")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("latency (ms)")
    axes.grid()
    axes.figure.legend(loc="outside right center")
