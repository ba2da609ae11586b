"""What a sweep file may choose among: optimizers, clouds, the parameter that sets the cost."""

import importlib.util
import re
import sys
from collections.abc import Iterator

from launcher.errors import Problem
from launcher.sweepfile.complaints import kind_of, near
from launcher.sweepfile.constraints import ConstraintError, parse
from launcher.sweepfile.parameters import Flat, tuned_names
from launcher.sweepfile.yamlio import Node, shown

METHODS = ("protein", "random", "sobol", "grid")
_OTHER_METHOD = re.compile(r"optuna:\w+|[A-Za-z_][\w.]*:[A-Za-z_]\w*")
CLOUDS = (
    "local", "simulated", "any", "aws", "gcp", "azure", "kubernetes", "slurm", "lambda", "runpod",
    "vast", "nebius", "oci", "ibm", "scp", "vsphere", "cudo", "fluidstack", "paperspace", "do",
    "hyperbolic", "primeintellect", "seeweb", "shadeform", "ssh", "yotta", "mithril", "verda",
)  # fmt: skip
"""This machine, virtual time, whatever SkyPilot may use, and the clouds of SkyPilot 0.14."""


def choices(root: Node) -> Iterator[Problem]:
    """Check what the models cannot: the optimizer and the cloud."""
    method = root.get("sweep", "method")
    if method is not None and isinstance(method.value, str):
        if method.value not in METHODS and not _OTHER_METHOD.fullmatch(method.value):
            hint = near(method.value, (*METHODS, "optuna:TPESampler", "my_module:my_suggest"))
            message = f"no optimizer is called {kind_of(method)}"
            yield method.place.problem("sweep.method", message, hint)
        elif ":" in method.value and not method.value.startswith("optuna:"):
            yield from _module_problem(method)
    cloud = root.get("execution", "cloud")
    if cloud is not None and isinstance(cloud.value, str) and cloud.value not in CLOUDS:
        message = f"no cloud is called {kind_of(cloud)}"
        yield cloud.place.problem("execution.cloud", message, near(cloud.value, CLOUDS))


def _module_problem(method: Node) -> Iterator[Problem]:
    package = str(method.value).split(":")[0].split(".")[0]  # finding a submodule runs code
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        message = f"there is no module {shown(package)}"
        yield method.place.problem("sweep.method", message, "is it installed, or on PYTHONPATH?")


def cost_parameter(sweep: Node, flat: Flat) -> Iterator[Problem]:
    """Check that the parameter that sets the cost is searched."""
    node = sweep.entries.get("cost_parameter")
    if node is None or not isinstance(node.value, str):
        return
    names = list(tuned_names(flat))
    if node.value not in names:
        message = f"{kind_of(node)} is not searched"
        yield node.place.problem("sweep.cost_parameter", message, near(node.value, names))


def constraints(sweep: Node, flat: Flat) -> Iterator[Problem]:
    """Check that every constraint is one, and speaks of the sweep's parameters."""
    node = sweep.entries.get("constraints")
    method = sweep.entries.get("method")
    name = "" if method is None else str(method.value)
    if node is not None and node.items and name.startswith(("sobol", "grid", "optuna:")):
        message = f"the method {shown(name)} keeps no constraints"
        yield node.place.problem("sweep.constraints", message, "protein and random do")
    for item in node.items if node is not None else ():
        if not isinstance(item.value, str):
            continue
        try:
            parse(item.value)
            parse(item.value, flat)
        except ConstraintError as error:
            unknown = error.args[0].split("'")[1] if "no parameter" in error.args[0] else ""
            hint = near(unknown, list(flat)) if unknown else "for example: a.b <= 2 * a.c"
            message = f"{kind_of(item)} {error}"
            yield item.place.problem("sweep.constraints", message, hint)
