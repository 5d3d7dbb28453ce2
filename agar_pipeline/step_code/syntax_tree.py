"""Reads what one module defines, and what each definition refers to, from its syntax tree.

Comments, docstrings and line numbers are ignored: two sources that differ only in these have the same digests.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

PACKAGE = "agar_pipeline"
_MODULE_NAME = re.compile(rf"{PACKAGE}(\.\w+)+")
NOTHING = hashlib.sha256(b"").hexdigest()[:16]
"""Digest of an empty list of statements."""
Reference = tuple[str, str | None]
"""A name, and the attribute of it that is used; None if the object itself is used."""


@dataclass(frozen=True)
class Definition:
    """A top-level function, class or variable of a module, or the other statements that run at import."""

    digest: str
    references: frozenset[Reference]
    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    """Imports inside the definition: local name → module, and the name that is imported from it."""
    modules: frozenset[str] = frozenset()
    """Modules of this package whose names appear as strings, because they are started as processes."""


@dataclass(frozen=True)
class ModuleCode:
    """The definitions and imports of one module."""

    definitions: dict[str, Definition]
    imports: dict[str, tuple[str, str | None]]
    always: Definition
    """Statements other than imports, definitions and assignments; they run when the module is imported."""


def read_module(source: str) -> ModuleCode:
    """Return the definitions and imports of a module.

    A source with a syntax error (a file in the middle of an edit) counts as a single statement.
    """
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return ModuleCode({}, {}, Definition(hashlib.sha256(source.encode()).hexdigest()[:16], frozenset()))
    nodes: dict[str, list[ast.stmt]] = {}
    imports: dict[str, tuple[str, str | None]] = {}
    always: list[ast.stmt] = []
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports |= _bindings(statement)
        elif _is_text(statement) or _is_for_type_checkers(statement):
            continue
        elif names := _defined_names(statement):
            for name in names:
                nodes.setdefault(name, []).append(statement)
        else:
            always.append(statement)
            imports |= _imports_in([statement])
    definitions = {name: _definition(statements) for name, statements in nodes.items()}
    return ModuleCode(definitions, imports, _definition(always))


def _defined_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


def _definition(statements: list[ast.stmt]) -> Definition:
    text = "\n".join(_canonical(statement) for statement in statements)
    references: set[Reference] = set()
    modules: set[str] = set()
    for statement in statements:
        references |= _references(statement)
        modules |= {
            node.value
            for node in ast.walk(statement)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _MODULE_NAME.fullmatch(node.value)
        }
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Definition(digest, frozenset(references), _imports_in(statements), frozenset(modules))


def _references(statement: ast.AST) -> set[Reference]:
    """Return the names that are read; for `name.attribute` only that attribute counts as read."""
    found: set[Reference] = set()
    inner: set[int] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add((node.value.id, node.attr))
            inner.add(id(node.value))
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in inner:
            found.add((node.id, None))
    return found


def _imports_in(statements: Iterable[ast.stmt]) -> dict[str, tuple[str, str | None]]:
    found: dict[str, tuple[str, str | None]] = {}
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                found |= _bindings(node)
    return found


def _bindings(node: ast.Import | ast.ImportFrom) -> dict[str, tuple[str, str | None]]:
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name: (node.module or "", alias.name) for alias in node.names}
    tops = {alias.name: alias.name.partition(".")[0] for alias in node.names}
    return {
        alias.asname or tops[alias.name]: (alias.name if alias.asname else tops[alias.name], None)
        for alias in node.names
    }


def _is_text(statement: ast.stmt) -> bool:
    """Return whether a statement is a docstring, or the string under a field that documents it."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _is_for_type_checkers(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test).rpartition(".")[2] == "TYPE_CHECKING"


def _canonical(node: object) -> str:
    """Return a syntax tree as text that is the same in every Python version.

    The output of `ast.dump` differs between versions in empty fields, and Python 3.12.1 adds an empty string to the
    format of an f-string such as `f"{value:<{width}}"`; both are left out here.
    """
    if isinstance(node, ast.AST):
        fields = {name: value for name, value in ast.iter_fields(node) if name not in ("ctx", "kind", "type_comment")}
        if isinstance(node, ast.JoinedStr):
            fields["values"] = [part for part in node.values if getattr(part, "value", None) != ""]
        parts = [f"{name}={_canonical(value)}" for name, value in fields.items() if value not in (None, [])]
        constant = isinstance(node, ast.Constant) and node.value is None
        return f"{type(node).__name__}({', '.join(parts)}{'None' if constant else ''})"
    if isinstance(node, list):
        kept = [item for item in node if not (isinstance(item, ast.stmt) and _is_text(item))]
        return f"[{', '.join(_canonical(item) for item in kept)}]"
    return repr(node)
