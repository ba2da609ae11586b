"""Constraints between parameters, such as `trainer.minibatch_size <= trainer.batch_size`.

A constraint is Python's expression syntax, read by `ast` and interpreted here, never evaluated by
Python: names of parameters, numbers, texts, arithmetic, comparisons, `and`, `or`, `not`, `in`.
"""

import ast
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_CHARACTERS = 500
MAX_DEPTH = 40

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda item, of: item in of,
    ast.NotIn: lambda item, of: item not in of,
}


class ConstraintError(ValueError):
    """An expression is not a constraint. The message says what about it is wrong."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition on parameters. `names` are those that it speaks of."""

    text: str
    names: frozenset[str]
    tree: ast.expr

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Whether parameters fulfil it.

        It holds where a parameter that it speaks of is not active, and does not where it cannot be
        computed (a division by zero, a text compared with a number).
        """
        if not self.names <= params.keys():
            return True
        try:
            return bool(_value(self.tree, params))
        except (TypeError, ZeroDivisionError, OverflowError, ValueError):
            return False


def parse(text: str, known: Collection[str] | None = None) -> Constraint:
    """Read a constraint; `known` are the names it may use, None for any.

    Raises ConstraintError.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConstraintError(f"is longer than {MAX_CHARACTERS} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "too deep"
        raise ConstraintError(f"is no expression: {reason}") from error
    _check(tree, 0)
    if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
        raise ConstraintError("is no condition: it compares nothing")
    names = frozenset(_names(tree))
    for name in sorted(names):
        if known is not None and name not in known:
            raise ConstraintError(f"speaks of {name!r}, which is no parameter")
    return Constraint(text.strip(), names, tree)


def all_hold(constraints: Iterable[Constraint]) -> Callable[[Mapping[str, Any]], bool] | None:
    """Return one predicate for all of them, None if there are none."""
    every = tuple(constraints)
    if not every:
        return None
    return lambda params: all(constraint.holds(params) for constraint in every)


def _check(node: ast.AST, depth: int) -> None:
    """Refuse what is not in the grammar."""
    if depth > MAX_DEPTH:
        raise ConstraintError("is nested too deeply")
    match node:
        case ast.Name() | ast.Constant(value=bool() | int() | float() | str()):
            return
        case ast.Attribute(value=ast.Name() | ast.Attribute() as inner):
            _check(inner, depth + 1)
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
            _check(operand, depth + 1)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            _check(left, depth + 1)
            _check(right, depth + 1)
        case ast.BoolOp(values=values) | ast.Tuple(elts=values) | ast.List(elts=values):
            for value in values:
                _check(value, depth + 1)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(
            type(op) in _COMPARISONS for op in ops
        ):
            for value in (left, *others):
                _check(value, depth + 1)
        case _:
            raise ConstraintError(f"may not use {ast.unparse(node)!r}")


def _names(node: ast.AST) -> Iterable[str]:
    if isinstance(node, ast.Name | ast.Attribute):
        yield ast.unparse(node)
        return
    for child in ast.iter_child_nodes(node):
        yield from _names(child)


def _value(node: ast.expr, params: Mapping[str, Any]) -> Any:
    match node:
        case ast.Name() | ast.Attribute():
            return params[ast.unparse(node)]
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, params)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, params)
        case ast.UnaryOp(operand=operand):
            return +_value(operand, params)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _value(left, params), _value(right, params)
            if isinstance(a, str) or isinstance(b, str):
                raise TypeError("arithmetic with a text")  # 'x' * 10**9 would fill the memory
            return _ARITHMETIC[type(op)](a, b)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_value(value, params) for value in values)
        case ast.BoolOp(values=values):
            return any(_value(value, params) for value in values)
        case ast.Tuple(elts=values) | ast.List(elts=values):
            return [_value(value, params) for value in values]
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = [_value(side, params) for side in (left, *others)]
            pairs = zip(sides, ops, sides[1:], strict=False)
            return all(_COMPARISONS[type(op)](a, b) for a, op, b in pairs)
        case _:
            raise AssertionError(f"not in the grammar: {ast.dump(node)}")
