"""The axes of plots: ranges, logarithms and ticks."""

import math
from collections.abc import Iterable
from html import escape
from typing import Any

from launcher.pages import formats
from launcher.pages.figures.figure import Trials, shortened
from launcher.pages.picture import LOG_RATIO


def is_log(spec: dict[str, Any]) -> bool:
    """Tell whether a parameter is spread over orders of magnitude."""
    return spec["distribution"] in ("log_normal", "uniform_pow2")


def score_axis(metric: str, known: Trials) -> dict[str, Any]:
    """Return the axis of scores; without numbers where there is no score to read from it."""
    return {"title": {"text": escape(metric)}, "showticklabels": bool(known)}


def axis_of(spec: dict[str, Any], values: Iterable[Any]) -> dict[str, Any]:
    """Return the axis of a parameter: its whole range, and values beyond it."""
    if "values" in spec:
        names = [escape(shortened(formats.value(value))) for value in spec["values"]]
        return {"type": "category", "categoryorder": "array", "categoryarray": names}
    numbers = [v for v in values if isinstance(v, int | float) and math.isfinite(v)]
    low, high = min([spec["min"], *numbers]), max([spec["max"], *numbers])
    if not is_log(spec) or low <= 0:
        return {"type": "linear", "range": _padded(low, high)}
    base = 2.0 if spec["distribution"] == "uniform_pow2" else 10.0
    ends = _padded(math.log10(low), math.log10(high))
    return {"type": "log", "range": ends, **_log_ticks(low, high, base)}


def _padded(low: float, high: float) -> list[float]:
    margin = (high / 2 - low / 2) * 2 * 0.06
    return [low - margin, high + margin]


def _log_ticks(low: float, high: float, base: float) -> dict[str, Any]:
    """Return ticks at powers of the base; none of ours where the range has fewer than two."""
    first, last = math.ceil(math.log(low, base) - 1e-9), math.floor(math.log(high, base) + 1e-9)
    if last <= first:
        return {}
    powers = [base**power for power in range(first, last + 1, 1 + (last - first) // 8)]
    return {"tickvals": powers, "ticktext": [_power_words(power) for power in powers]}


def _power_words(power: float) -> str:
    return f"{power:.6g}" if 0.001 <= power < 1e6 else f"{power:.0e}".replace("e-0", "e-")


def log_if_wide(values: Iterable[float]) -> dict[str, Any]:
    """Return a logarithmic axis where positive values differ much."""
    known = list(values)
    is_wide = min(known) > 0 and max(known) / min(known) > LOG_RATIO
    return {"type": "log"} if is_wide else {"type": "linear"}


def foot(scores: list[float]) -> float:
    """Return where crosses stand: below all scores."""
    if not scores:
        return 0.0
    low, high = min(scores), max(scores)
    return low - (0.08 * (high / 2 - low / 2) * 2 or abs(low) * 0.08 or 1.0)
