"""Figures of matplotlib, made and saved without pyplot: no window, no global state."""

from pathlib import Path

from matplotlib.figure import Figure

DPI = 110


def new_figure(width: float, height: float, dpi: float = DPI, constrained: bool = True) -> Figure:
    """Return an empty figure.

    Args:
        width: In inches.
        height: In inches.
        dpi: Pixels per inch of the figure when it is drawn and saved.
        constrained: Use matplotlib's constrained layout; else the caller sets the margins by ``subplots_adjust``.
    """
    return Figure(figsize=(width, height), dpi=dpi, layout='constrained' if constrained else None)


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure at its own resolution, making the folder, and return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=figure.dpi)
    return path
