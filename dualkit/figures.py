"""One look for every figure of the book: readable on light and dark pages and in grey print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dualkit._validate import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Ink of axes and text: a grey with the same contrast on white and on near-black pages.
INK = "#7a7a7a"

#: Line colours of middle lightness; every curve also has its own dash pattern, for grey print.
COLORS = ("#2a78c8", "#d0660a", "#2b9467", "#a854b4", "#b8860b", "#c8385a")
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (3, 1)))


def use_style() -> None:
    """Set the book's matplotlib style for the running kernel.

    Figures are transparent SVG, so that one file serves both themes; they carry no date and no random
    identifier, so that the same code gives the same file. Call it once, in a chapter's first cell.

    >>> use_style()
    >>> import matplotlib
    >>> matplotlib.rcParams["savefig.transparent"]
    True
    """
    import matplotlib
    import matplotlib.pyplot as plt
    from cycler import cycler

    matplotlib.rcParams.update({
        "figure.figsize": (7.0, 3.2), "figure.dpi": 100, "figure.constrained_layout.use": True,
        "savefig.transparent": True, "figure.facecolor": "none", "axes.facecolor": "none",
        "svg.hashsalt": "dualkit", "svg.fonttype": "path",
        "text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "axes.edgecolor": INK,
        "xtick.color": INK, "ytick.color": INK, "grid.color": INK, "grid.alpha": 0.25,
        "legend.labelcolor": INK,
        "font.size": 11, "axes.titlesize": 11, "legend.fontsize": 10, "legend.frameon": False,
        "mathtext.fontset": "cm", "axes.spines.top": False, "axes.spines.right": False,
        "lines.linewidth": 1.8, "lines.markersize": 5,
        "axes.prop_cycle": cycler(color=COLORS) + cycler(linestyle=DASHES),
    })
    try:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:
        return
    if plt.get_backend().lower().endswith("inline"):
        set_matplotlib_formats("svg", metadata={"Date": None})


def draw_set(ax: Axes, boundary: Array, label: str, color: str = COLORS[0], **style: object) -> None:
    """Draw a closed curve, shape (points, 2), with a light filling: a convex set in the plane."""
    ax.fill(*boundary.T, color=color, alpha=0.15, linewidth=0)
    ax.plot(*boundary.T, color=color, label=label, **{"linestyle": "-", **style})


def draw_support(ax: Axes, direction: Array, value: float, point: Array, *, length: float = 1.0,
                 color: str = COLORS[1]) -> None:
    """Draw a dual direction, its supporting line {h : direction . h = value}, and the exposed point.

    `value` is that of the support function in the direction, shape (2,); the point, shape (2,), is on the line.
    `length` is half the length of the line drawn, and the length of the arrow.
    """
    unit = direction / np.linalg.norm(direction)
    along = np.array([-unit[1], unit[0]])
    foot = unit * value / np.linalg.norm(direction)
    centre = float(along @ (point - foot))
    ends = foot + np.outer(centre + np.array([-length, length]), along)
    ax.plot(*ends.T, color=color, linestyle="--", linewidth=1.4)
    arrow = {"arrowstyle": "-|>", "color": color, "lw": 1.8}
    ax.annotate("", xy=length * unit, xytext=(0, 0), arrowprops=arrow)
    ax.plot(*point, "o", color=color, markersize=7)


def show_signed(ax: Axes, image: Array, title: str) -> None:
    """Show signed weights as an image, grey at zero, the two signs in two hues of different lightness."""
    from matplotlib.colors import LinearSegmentedColormap

    signed = LinearSegmentedColormap.from_list("signed", ["#0b3c78", "#9a9a9a", "#ffd9a0"])
    bound = float(np.abs(image).max()) or 1.0
    ax.imshow(image, cmap=signed, vmin=-bound, vmax=bound, interpolation="nearest")
    ax.set_title(title)
    ax.set_xticks([])
    ax.set_yticks([])
