"""Functions the demo's jobs call: count how complex modules of the standard library are, factorise numbers."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import TypedDict

_BRANCHES = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.With,
    ast.AsyncWith,
    ast.Assert,
    ast.comprehension,
    ast.IfExp,
    ast.match_case,
)


class ModuleReport(TypedDict):
    """What one module is like."""

    module: str
    lines: int
    functions: int
    classes: int
    complexity: int
    most_complex: str | None


def standard_modules(count: int) -> list[str]:
    """Names of the first `count` standard library modules that have Python source, in alphabetical order."""
    names = (name for name in sorted(sys.stdlib_module_names) if not name.startswith("_"))
    with_source = (name for name in names if _source_path(name) is not None)
    return [name for name, _ in zip(with_source, range(count), strict=False)]


def module_complexity(module: str) -> ModuleReport:
    """Cyclomatic complexity (McCabe 1976: decision points plus one, summed over functions) of a standard module.

    Raises:
        ValueError: there is no such module, or it has no Python source.
    """
    path = _source_path(module)
    if path is None:
        raise ValueError(f"the standard library has no Python module {module!r}")
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    complexities = {function.name: _complexity(function) for function in functions}
    return {
        "module": module,
        "lines": source.count("\n"),
        "functions": len(functions),
        "classes": sum(isinstance(node, ast.ClassDef) for node in ast.walk(tree)),
        "complexity": sum(complexities.values()),
        "most_complex": max(complexities, key=lambda name: complexities[name], default=None),
    }


def prime_factors(number: int) -> list[int]:
    """The prime factors of a positive number in ascending order, by trial division."""
    factors: list[int] = []
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1 if divisor == 2 else 2  # noqa: PLR2004 - the one even prime
    return [*factors, number] if number > 1 else factors


def _complexity(function: ast.AST) -> int:
    decisions = 1
    for node in ast.walk(function):
        if isinstance(node, _BRANCHES):
            decisions += 1
        elif isinstance(node, ast.BoolOp):
            decisions += len(node.values) - 1
    return decisions


def _source_path(module: str) -> Path | None:
    if module not in sys.stdlib_module_names:
        return None
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)
