"""Protein for a W&B sweep, set up by a sweep's config, as in the system that this replaces."""

from collections.abc import Mapping
from typing import Any

from protein.ask_tell import Protein
from protein.space import Space
from protein.wandb_protein import SweepRuns, WandbProtein


class MettaProtein(WandbProtein):
    """WandbProtein with the space and the goal that `cfg.sweep` describes.

    `cfg` is a mapping, or an object such as OmegaConf's that behaves as one: `metric`, `goal`,
    `num_random_samples`, `seed` and `parameters`, below `sweep` or by themselves.
    Raises SpaceError if the parameters are wrong.
    """

    def __init__(self, cfg: Any, wandb_run: Any = None, *, runs: SweepRuns | None = None) -> None:
        self._cfg = cfg
        super().__init__(protein_of(cfg), wandb_run, runs=runs)


def protein_of(cfg: Any) -> Protein:
    """Set Protein up as a sweep's config says."""
    plain = _plain(cfg)
    sweep = plain.get("sweep", plain)
    return Protein(
        Space.from_dict(sweep.get("parameters", {})),
        goal=sweep.get("goal", "maximize"),
        seed=int(sweep.get("seed", 0)),
        num_random_samples=int(sweep.get("num_random_samples", 5)),
        cost_parameter=sweep.get("cost_parameter"),
        method=sweep.get("method", "protein"),
    )


def _plain(value: Any) -> Any:
    """Return nested dicts and lists, whatever class of mapping and sequence they came in."""
    if isinstance(value, Mapping) or hasattr(value, "items"):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return [_plain(inner) for inner in value]
