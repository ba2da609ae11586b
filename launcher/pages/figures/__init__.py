"""The report's plots as Plotly figures, made of the status document."""

from launcher.pages.figures.figure import Figure
from launcher.pages.figures.importance import importance
from launcher.pages.figures.parallel import parallel
from launcher.pages.figures.points import history, pareto, slices
from launcher.pages.figures.timeline import timeline

__all__ = ["Figure", "history", "importance", "parallel", "pareto", "slices", "timeline"]
