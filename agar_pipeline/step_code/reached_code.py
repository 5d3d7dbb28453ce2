"""Finds everything in this package that a step can reach from its `build` function, and the libraries that it uses.

If a reference cannot be followed to one definition (a module that is passed as an object, an attribute that is created
at run time), the whole module counts as reached. So the result may be too large, but not too small.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agar_pipeline.step_code.syntax_tree import NOTHING, PACKAGE, Definition, ModuleCode, read_module

_ROOT = Path(__file__).resolve().parent.parent
_WHOLE = "*"


@dataclass(frozen=True)
class ReachedCode:
    """The code that a step can run."""

    modules: dict[str, str]
    """File, relative to the package → digest of the reached definitions in it."""
    libraries: frozenset[str]
    """Top-level names of the modules imported from outside the package."""


class Package:
    """The sources of a package by module name."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        """`sources`: path of a file relative to the package's folder, with `/` → its text."""
        self.files = {_module_name(path): path for path in sources}
        self.modules: dict[str, ModuleCode] = {name: read_module(sources[path]) for name, path in self.files.items()}

    def reach(self, module: str, name: str) -> ReachedCode:
        """Return everything that can be reached from one definition of one module."""
        walk = _Walk(self)
        walk.attribute(module, name)
        digests: dict[str, list[str]] = {}
        for reached_module, definition in sorted(walk.seen):
            digest = self._definition(reached_module, definition).digest
            digests.setdefault(self.files[reached_module], []).append(f"{definition} {digest}")
        modules = {path: hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] for path, lines in digests.items()}
        return ReachedCode(modules, frozenset(walk.libraries))

    def _definition(self, module: str, name: str) -> Definition:
        code = self.modules[module]
        return code.always if name == _WHOLE else code.definitions[name]


class _Walk:
    """One walk over references. `seen` holds (module, definition); `*` stands for the statements run at import."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.seen: set[tuple[str, str]] = set()
        self.libraries: set[str] = set()
        self._loaded: set[str] = set()
        self._whole: set[str] = set()
        self._pending: list[tuple[str, str]] = []

    def attribute(self, module: str, name: str) -> None:
        """Reach one name of one module, and everything that it refers to, transitively."""
        self._attribute(module, name)
        while self._pending:
            self._follow(*self._pending.pop())

    def _attribute(self, module: str, name: str) -> None:
        code = self.package.modules[module]
        self._load(module)
        if name in code.definitions:
            self._reach(module, name)
        elif name in code.imports:
            self._imported(*code.imports[name], None)
        elif f"{module}.{name}" in self.package.modules:
            self._load(f"{module}.{name}")
        else:
            self._all_of(module)

    def _all_of(self, module: str) -> None:
        if module in self._whole:
            return
        self._whole.add(module)
        self._load(module)
        code = self.package.modules[module]
        for name in code.definitions:
            self._reach(module, name)
        for target in code.imports.values():
            self._imported(*target, None)

    def _load(self, module: str) -> None:
        """Load a module: its own statements run, and those of its parent packages and of the modules it imports."""
        parts = module.split(".")
        for name in (".".join(parts[:count]) for count in range(1, len(parts) + 1)):
            code = self.package.modules.get(name)
            if code is None or name in self._loaded:
                continue
            self._loaded.add(name)
            if code.always.digest != NOTHING:
                self._reach(name, _WHOLE)
            for target, imported in code.imports.values():
                self._load(f"{target}.{imported}" if f"{target}.{imported}" in self.package.modules else target)

    def _reach(self, module: str, name: str) -> None:
        if (module, name) not in self.seen:
            self.seen.add((module, name))
            self._pending.append((module, name))

    def _follow(self, module: str, name: str) -> None:
        code, definition = self.package.modules[module], self.package._definition(module, name)
        bound = {**code.imports, **definition.imports}
        for local, attribute in definition.references:
            if local in definition.imports or (local in bound and local not in code.definitions):
                self._imported(*bound[local], attribute)
            elif local in code.definitions:
                self._reach(module, local)
        for target in definition.imports.values():  # an import loads the module even if nothing of it is used
            if target[0] in self.package.modules:
                self._load(target[0])
        for started in definition.modules:
            if started in self.package.modules:
                self._all_of(f"{started}.__main__" if f"{started}.__main__" in self.package.modules else started)

    def _imported(self, module: str, name: str | None, attribute: str | None) -> None:
        """Reach a name that an import has bound, or one attribute of it."""
        if module.partition(".")[0] != PACKAGE:
            self.libraries.add(module.partition(".")[0])
            return
        submodule = module if name is None else f"{module}.{name}"
        is_module = submodule in self.package.modules and (
            name is None or name not in self.package.modules[module].definitions
        )
        if not is_module:
            self._attribute(module, str(name))
        elif attribute is None:
            self._all_of(submodule)
        else:
            self._attribute(submodule, attribute)


def read_sources(root: Path = _ROOT) -> dict[str, str]:
    """Read every Python file of a package: path relative to its folder → text."""
    return {path.relative_to(root).as_posix(): path.read_text() for path in sorted(root.rglob("*.py"))}


def _module_name(path: str) -> str:
    parts = path.removesuffix(".py").split("/")
    return ".".join([PACKAGE, *(parts[:-1] if parts[-1] == "__init__" else parts)])
