"""What W&B's client left in a run folder: sources of results without account and network.

Offline and online, the client keeps a log of protobuf records in LevelDB's framing,
`run-<id>.wandb`. It holds every update of the summary as the client computed it, `define_metric`
included, so folding these gives what W&B would show. A log whose end is missing (the program was
killed) is read up to there. Online there is `wandb-summary.json` too, to be read without wandb.
Format: https://github.com/google/leveldb/blob/main/doc/log_format.md, with zlib's CRC.
"""

import json
import math
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import msgspec
import yaml

from launcher.metrics import Source, as_number, flatten
from launcher.ports import Result, Run

HEADER = b":W&B\xe1\xbe\x00"
_BLOCK_BYTES = 32 * 1024
_FRAME = struct.Struct("<IHB")  # checksum, length, kind
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
MAX_LOG_BYTES = 64 * 1024 * 1024
"""8 s to read; more would hold the coordinator up, and such a run needs a result.json."""


@dataclass(slots=True)
class OfflineRun:
    """What a log says. None: it does not say (yet)."""

    run_id: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None
    series: list[float] = field(default_factory=list)  # of the one metric that was asked for


def from_wandb_log(run: Run, *, wanted: str = "") -> Result | None:
    """Read the newest log of this attempt; None without wandb or without metrics.

    `wanted` may ask for more than a summary has, see `with_history`.
    """
    metric, _ = over_what(wanted)
    newest: OfflineRun | None = None
    series: list[float] = []
    seconds = {True: 0.0, False: 0.0}
    for path in logs(run.run_dir):
        try:
            found = read(path, series_of=metric)
        except (OSError, ImportError):
            return None
        if found is not None and found.run_id == run.run_id:
            series += found.series
            newest = found if _is_of(found, run.attempt) else newest
            was_offline = path.parent.name.startswith("offline-")
            before = seconds[was_offline]
            # Online, the client goes on counting where the run was resumed.
            seconds[was_offline] = (before if was_offline else 0.0) + runtime(found.summary)
    if newest is None:
        return None
    result = as_result(newest.summary, source="wandb")
    whole = with_history(result, wanted, series)
    return whole and msgspec.structs.replace(whole, runtime_seconds=sum(seconds.values()) or None)


def with_history(result: Result | None, wanted: str, series: Sequence[float]) -> Result | None:
    """Return a summary's result with the metric that is wanted, where only the history has it.

    `reward.max`, `.min`, `.mean`, `.last` and `.mean_last_<k>` are taken over everything that the
    trial logged, in all attempts; of any other metric the last value counts. What the summary has
    counts over the history.
    """
    if not series or not wanted or (result is not None and wanted in result.metrics):
        return result
    _, how = over_what(wanted)
    found = {wanted: over_history(series, how)}
    if result is None:
        return Result(found, source="wandb")
    return msgspec.structs.replace(result, metrics={**result.metrics, **found})


def over_what(wanted: str) -> tuple[str, str]:
    """Return the metric that is logged, and how it is aggregated: `reward.max` is reward, max."""
    asked = _OVER_HISTORY.fullmatch(wanted)
    return (asked[1], asked[2]) if asked else (wanted, "last")


_OVER_HISTORY = re.compile(r"(.+)\.(max|min|mean|last|mean_last_[1-9][0-9]*)")


def over_history(values: Sequence[float], how: str) -> float:
    """Aggregate what was logged: max, min, mean, last or mean_last_<k>.

    NaN counts in means, and in a maximum or minimum only where there is nothing else.
    """
    numbers = [value for value in values if not math.isnan(value)] or [math.nan]
    match how:
        case "max":
            return max(numbers)
        case "min":
            return min(numbers)
        case "last":
            return values[-1]
        case _:
            last = int(how.removeprefix("mean_last_")) if how != "mean" else len(values)
            return math.fsum(values[-last:]) / len(values[-last:])


def _is_of(found: OfflineRun, attempt: int) -> bool:
    provenance = found.config.get("protein")
    said = provenance.get("attempt") if isinstance(provenance, dict) else None
    return said is None or said == attempt


def from_summary_file(run: Run) -> Result | None:
    """Read this attempt's newest wandb-summary.json, which online runs leave at their end."""
    for path in sorted(run.run_dir.glob("wandb/run-*/files/wandb-summary.json"), reverse=True):
        if not path.parents[1].name.endswith(f"-{run.run_id}"):
            continue
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
            config = yaml.safe_load(path.with_name("config.yaml").read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        entries = config.items() if isinstance(config, dict) else ()
        values = {key: entry.get("value") for key, entry in entries if isinstance(entry, dict)}
        if isinstance(summary, dict) and _is_of(OfflineRun(config=values), run.attempt):
            return as_result(summary, source="wandb")
    return None


def wandb_sources(wanted: str) -> tuple[Source, ...]:
    """Return the sources for a sweep whose metric is `wanted`."""
    return partial(from_wandb_log, wanted=wanted), from_summary_file


def logs(run_dir: Path, *, kind: str = "*run") -> list[Path]:
    """Return the logs of one trial in order of time; `kind` "offline-run": those made offline."""
    found = run_dir.glob(f"wandb/{kind}-*/run-*.wandb")
    return sorted(found, key=lambda path: path.parent.name.removeprefix("offline-"))


def as_result(summary: Mapping[str, Any], *, source: str) -> Result | None:
    """Return the numbers of a W&B summary. Metrics of W&B's own begin with an underscore."""
    own = {name: value for name, value in summary.items() if not name.startswith("_")}
    metrics = with_aggregates(flatten(own))
    seconds = runtime(summary) or None
    return Result(metrics, source=source, runtime_seconds=seconds) if metrics else None


def runtime(summary: Mapping[str, Any]) -> float:
    """Return for how many seconds a run ran, by W&B's own measure; 0 where it says nothing."""
    inner = summary.get("_wandb")
    said = inner.get("runtime") if isinstance(inner, Mapping) else None
    known = [as_number(value) for value in (summary.get("_runtime"), said)]
    return max((n for n in known if n is not None and math.isfinite(n)), default=0.0)


AGGREGATES = ("max", "min", "last", "mean", "best")


def with_aggregates(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics, with those of one aggregate under their plain name too.

    `define_metric("loss", summary="min")` makes the summary `{"loss": {"min": 0.1}}`: it is found
    as `loss.min` and, being the only one, as `loss`.
    """
    found = dict(metrics)
    families: dict[str, list[str]] = {}
    for name in metrics:
        base, _, last = name.rpartition(".")
        if base and last in AGGREGATES:
            families.setdefault(base, []).append(name)
    for base, names in families.items():
        siblings = [name for name in metrics if name.startswith(f"{base}.")]
        if base not in found and len(names) == len(siblings) == 1:
            found[base] = metrics[names[0]]
    return found


def read(path: Path, *, series_of: str = "") -> OfflineRun | None:
    """Fold a log; None if it is none of W&B's, or too long to read.

    `series_of` names a metric of which everything that was logged is kept.

    Raises OSError, and ImportError without wandb.
    """
    from google.protobuf.message import (  # type: ignore[import-untyped]  # comes with wandb
        DecodeError,
    )
    from wandb.proto import wandb_internal_pb2

    if path.stat().st_size > MAX_LOG_BYTES:
        return None
    run = OfflineRun()
    with path.open("rb") as file:
        if file.read(len(HEADER)) != HEADER:
            return None
        for data in _records(file):
            record = wandb_internal_pb2.Record()
            try:
                record.ParseFromString(data)
            except DecodeError:  # of a later client; what follows is worth reading
                continue
            _apply(run, record)
            if series_of:
                run.series += _logged(record, series_of)
    return run


def _apply(run: OfflineRun, record: Any) -> None:
    match record.WhichOneof("record_type"):
        case "run":
            run.run_id = record.run.run_id
            _update(run.config, record.run.config.update)
        case "config":
            _update(run.config, record.config.update)
        case "summary":
            _update(run.summary, record.summary.update)
            _remove(run.summary, record.summary.remove)
        case "exit":
            run.exit_code = record.exit.exit_code


def _logged(record: Any, name: str) -> Iterator[float]:
    for item in record.history.item:
        if ".".join(item.nested_key or [item.key]) != name:
            continue
        try:
            number = as_number(json.loads(item.value_json))
        except ValueError:
            continue
        if number is not None:
            yield number


def _update(tree: dict[str, Any], items: Any) -> None:
    for item in items:
        *groups, last = item.nested_key or [item.key]
        place = tree
        for group in groups:
            inner = place.get(group)
            if not isinstance(inner, dict):
                inner = place[group] = {}
            place = inner
        try:
            place[last] = json.loads(item.value_json)
        except ValueError:
            continue


def _remove(tree: dict[str, Any], items: Any) -> None:
    for item in items:
        *groups, last = item.nested_key or [item.key]
        place: Any = tree
        for group in groups:
            place = place.get(group) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.pop(last, None)


def _records(file: IO[bytes]) -> Iterator[bytes]:
    """Yield whole records; stop at the first that is cut off or damaged."""
    position, parts = len(HEADER), b""
    while True:
        left = _BLOCK_BYTES - position % _BLOCK_BYTES
        if left < _FRAME.size:
            file.seek(left, 1)
            position += left
        frame = file.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            return
        checksum, length, kind = _FRAME.unpack(frame)
        data = file.read(length)
        if len(data) < length or zlib.crc32(bytes([kind]) + data) != checksum:
            return
        position += _FRAME.size + length
        if kind in (_FULL, _FIRST):
            parts = data
        else:
            parts += data
        if kind in (_FULL, _LAST):
            yield parts
