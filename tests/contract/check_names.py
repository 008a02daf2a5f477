"""Which findings each check module can give, read from its source: no list to keep by hand, and none to forget.

A name is a pattern: what the source spells out stands as it is, what comes from the inventory is `<...>`. Names that a
loop or a helper's callers spell out are told apart, so `aof.last_write` and `aof.last_rewrite` are two.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import product
from pathlib import Path

from contract.layout import THINKING, imports_of, modules

VARIABLE = "<...>"
# Whoever judges gives this finding first. Check modules, which take this road, must see it red too; for what does more
# than look, such as a backup, it is always green: where nothing could be done the module fails instead.
FIRST, ROAD = "reachable", "verify"


@cache
def names_by_module() -> dict[str, frozenset[str]]:
    """The names of all checks that each module can answer."""
    names = {path.stem: frozenset(_names_of_module(path)) for path in modules()}
    return {module: found for module, found in names.items() if found}


def _names_of_module(path: Path) -> Iterator[str]:
    files = _thinking_of(path)
    if THINKING / f"{ROAD}.py" in files:
        yield FIRST
    for file in files:
        yield from names_in(file.read_text(encoding="utf-8"))


def _thinking_of(path: Path) -> set[Path]:
    """The files of ours that a file imports, and what the judges among them import."""
    stems = (re.sub(r"^(ansible\.module_utils\.cutover)?\.", "", name) for name in imports_of(path))
    files = {file for stem in stems if (file := THINKING / f"{stem}.py").exists()}
    return files.union(*(_thinking_of(file) for file in files if file.stem.startswith("judge")))


def names_in(source: str) -> set[str]:
    """The names of all checks that a source makes."""
    tree = ast.parse(source)
    ways = _Ways(tree)
    return {
        name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for call in _calls(function, "Check")
        for keyword in call.keywords
        if keyword.arg == "name"
        for name in ways.spellings(keyword.value, function)
    }


def _calls(within: ast.AST, function: str) -> Iterator[ast.Call]:
    for node in ast.walk(within):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function:
            yield node


class _Ways:
    """How an expression may be spelled: by constants, and by the loops, assignments and callers that reach it."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree

    def spellings(self, node: ast.expr, function: ast.FunctionDef) -> set[str]:
        """Every text that the expression may be, as far as the source spells it out."""
        if isinstance(node, ast.Constant):
            return {str(node.value)}
        if isinstance(node, ast.FormattedValue):
            return self.spellings(node.value, function)
        if isinstance(node, ast.JoinedStr):
            parts = (self.spellings(part, function) for part in node.values)
            return {"".join(spelled) for spelled in product(*parts)}
        if isinstance(node, ast.Name):
            sources = [*self._bound(node.id, function)]
            return {text for source, where in sources for text in self.spellings(source, where)} or {VARIABLE}
        return {VARIABLE}

    def _bound(self, name: str, function: ast.FunctionDef) -> Iterator[tuple[ast.expr, ast.FunctionDef]]:
        """What a name may stand for in a function, and where that is written."""
        for node in ast.walk(function):
            if isinstance(node, ast.For):
                for item in self._items(node.iter, function):
                    yield from ((value, function) for value in _unpacked(name, node.target, item))
            elif isinstance(node, ast.Assign):
                yield from ((value, function) for value in _unpacked(name, node.targets[0], node.value))
        parameters = [argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)]
        if name in parameters:
            yield from self._given(parameters.index(name), name, function)

    def _given(self, at: int, name: str, function: ast.FunctionDef) -> Iterator[tuple[ast.expr, ast.FunctionDef]]:
        for caller in ast.walk(self.tree):
            if isinstance(caller, ast.FunctionDef):
                for call in _calls(caller, function.name):
                    named = (keyword.value for keyword in call.keywords if keyword.arg == name)
                    yield from ((value, caller) for value in (*call.args[at : at + 1], *named))

    def _items(self, iterable: ast.expr | None, function: ast.FunctionDef) -> list[ast.expr]:
        """The elements of a literal, also of one that has a name; of a dict's `items()`, the pairs."""
        match iterable:
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return elements
            case ast.Name(id=name):
                return self._items(self._literal(name, function), function)
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="items")):
                literal = self._literal(name, function)
                pairs = zip(literal.keys, literal.values, strict=True) if isinstance(literal, ast.Dict) else ()
                return [ast.Tuple([key, value]) for key, value in pairs if key is not None]
        return []

    def _literal(self, name: str, function: ast.FunctionDef) -> ast.expr | None:
        for node in (*ast.walk(function), *self.tree.body):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if isinstance(node, ast.Assign | ast.AnnAssign) and [*map(_id, targets)] == [name]:
                return node.value
        return None


def _id(node: ast.AST | None) -> str | None:
    return node.id if isinstance(node, ast.Name) else None


def _unpacked(name: str, target: ast.expr, value: ast.expr) -> Iterator[ast.expr]:
    """What `name` becomes when `value` is assigned to `target`."""
    if _id(target) == name:
        yield value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for part, element in zip(target.elts, value.elts, strict=True):
            yield from _unpacked(name, part, element)


def pattern_of(check: str, patterns: Iterable[str]) -> str | None:
    """The pattern that a finding's name is of: of several that fit, the one that spells out most."""
    fitting = [
        pattern
        for pattern in patterns
        if re.fullmatch(".+".join(map(re.escape, pattern.split(VARIABLE))), check, re.DOTALL)
    ]
    return max(fitting, key=lambda pattern: len(pattern.replace(VARIABLE, "")), default=None)


def unproven(module: str, *, green: Iterable[str], red: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each check of a module that was not seen right, or not seen wrong, and for unknown ones."""
    names = names_by_module()[module]
    for how, seen in (("green", set(green)), ("red by itself", set(red))):
        patterns = {check: pattern_of(check, names | {FIRST}) for check in seen}
        yield from (f"{module}: {name} was never seen {how}" for name in sorted(names - set(patterns.values())))
        unknown = sorted(check for check, pattern in patterns.items() if pattern is None)
        yield from (f"{module}: {check} was seen {how}, and stands in no judge's source" for check in unknown)
