"""How the wheel is made: hatchling calls this to put all packages under `facet_serving`.

In the repository they stand side by side, with names that others use, too: whoever installs them must keep a
`utils` of his own. So the wheel has them as `facet_serving.utils` and so on, with their imports, and what
else names their modules, changed to that. Names of loggers stay as docs/logs.md has them.
"""

import ast
import re
import tempfile
import tomllib
from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

TARGET = "facet_serving"
MOVED = ("cli", "gateway", "inference_server", "protos", "utils")
"""The packages that the wheel has in TARGET."""

EXTRAS = {
    "serve": "requirements-serve.txt",
    "tracing": "requirements-tracing.txt",
    "ray": "requirements-ray.txt",
}
"""What is installed besides, for each extra; `native` is the native engine's own wheel."""

_OURS = "|".join(MOVED)
_REFERENCE = re.compile(rf"((?:{_OURS})(?:\.\w+)*)(?::[\w.]+(?:\(\))?)?")
_MENTION = re.compile(rf"(?<![\w.])(?:-m )?(?:{_OURS})(?:\.\w+)*")
_OPTION = re.compile(rf"-m (?=(?:{_OURS})\b)".encode())
_QUOTE = re.compile(rb"[a-zA-Z]*(?:\"\"\"|'''|\"|')")
_NOTHING = re.compile(b"")
_FROM = re.compile(rb"from\s+")
_PREFIX = f"{TARGET}.".encode()
_IMPORTERS = frozenset({"import_module", "find_spec", "files"})
"""Functions whose first argument is a module's name."""


class NotRelocatable(ValueError):
    """A line names a module in a way that cannot be changed safely."""


@dataclass(frozen=True)
class Change:
    """Bytes of a source that are replaced, from `begin` up to `end`."""

    begin: int
    end: int
    replacement: bytes = _PREFIX


class Module:
    """A module's source.

    Args:
        name: In the repository.
        source: What its file has.
        others: The names of all modules of the repository that are moved.
    """

    def __init__(self, name: str, source: bytes, others: Set[str]) -> None:
        self._name = name
        self._source = source
        self._others = others
        self._lines = [0, *(match.end() for match in re.finditer(rb"\n", source))]

    def relocated(self) -> bytes:
        """The source as the wheel has it.

        Raises:
            NotRelocatable: It names a module of ours in a way that is not known here.
        """
        made = self._source
        changes = set(self._changes(ast.parse(self._source)))
        for change in sorted(changes, key=lambda change: -change.begin):
            made = made[: change.begin] + change.replacement + made[change.end :]
        self._check(ast.parse(made))
        return made

    def _changes(self, tree: ast.AST) -> Iterator[Change]:
        no_names, packages = _no_names(tree), set(_packages(tree))
        parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if node in no_names or node in parts:
                continue
            match node:
                case ast.ImportFrom(module=str(name), level=0) if _is_ours(name):
                    yield self._insertion(node, _FROM)
                case ast.Import(names=[ast.alias(name, None)]) if name in MOVED:
                    yield Change(*self._span(node), f"from {TARGET} import {name}".encode())
                case ast.Import(names=names):
                    moved = (alias for alias in names if alias.asname and _is_ours(alias.name))
                    yield from map(self._insertion, moved)
                case ast.Call(args=[ast.Name("__name__") as name]) if _called(node) == "getLogger":
                    yield Change(*self._span(name), f'"{self._name}"'.encode())
                case ast.Constant(str(text)) if node in packages or self._is_reference(text):
                    yield self._insertion(node, _QUOTE)
                case ast.Constant(str()) | ast.JoinedStr():
                    for found in _OPTION.finditer(self._source, *self._span(node)):
                        yield Change(found.end(), found.end())
                case _:
                    pass

    def _span(self, node: ast.expr | ast.stmt | ast.alias) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        begin = self._lines[node.lineno - 1] + node.col_offset
        return begin, self._lines[node.end_lineno - 1] + node.end_col_offset

    def _insertion(
        self, node: ast.expr | ast.stmt | ast.alias, behind: re.Pattern[bytes] = _NOTHING
    ) -> Change:
        found = behind.match(self._source, self._span(node)[0])
        assert found is not None
        return Change(found.end(), found.end())

    def _is_reference(self, text: str) -> bool:
        """Whether a text is the name of a module in a package, or of what a module has.

        The name of a package alone may be any word.
        """
        found = _REFERENCE.fullmatch(text)
        if found is None or text in MOVED:
            return False
        module, _, last = found[1].rpartition(".")
        return found[1] in self._others or (module in self._others and last[:1].isupper())

    def _check(self, tree: ast.AST) -> None:
        """Refuse what has been left as it was."""
        no_names = _no_names(tree)
        for node in ast.walk(tree):
            match node:
                case ast.ImportFrom(module=str(name), level=0) if _is_ours(name):
                    raise self._refused(node, f"an import of {name} is left")
                case ast.Import(names=names) if any(_is_ours(alias.name) for alias in names):
                    raise self._refused(node, "an import; accepted: from ... import, or import ... as")
                case ast.Constant(str(text)) if node not in no_names:
                    for found in filter(lambda found: self._is_left(found, text), _MENTION.findall(text)):
                        raise self._refused(node, f"{text!r} has the name {found!r}")
                case _:
                    pass

    def _is_left(self, found: str, text: str) -> bool:
        """Whether a part of a text, or all of it, names a module."""
        first = ".".join(found.split(".")[:2])
        return found.startswith("-m ") or first in self._others - {*MOVED} or ("." in found and found == text)

    def _refused(self, node: ast.expr | ast.stmt, reason: str) -> NotRelocatable:
        return NotRelocatable(f"{self._name}, line {node.lineno}: {reason}")


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in MOVED


def _called(node: ast.Call) -> str:
    """The last part of a function's name."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _no_names(tree: ast.AST) -> Set[ast.AST]:
    """The texts that are no names of modules: documentation, and loggers' names."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            found.add(node.value)
        elif isinstance(node, ast.Call) and _called(node) == "getLogger":
            found |= {name for name in node.args if isinstance(name, ast.Constant)}
    return found


def _packages(tree: ast.AST) -> Iterator[ast.AST]:
    """The texts that are packages' names because of where they stand: behind "-m", in a call that imports."""
    for node in ast.walk(tree):
        row: list[ast.expr] = []
        if isinstance(node, ast.List | ast.Tuple):
            row = node.elts
        elif isinstance(node, ast.Call):
            row = node.args
            yield from filter(_is_package, row[:1] if _called(node) in _IMPORTERS else ())
        for option, name in pairwise(row):
            if isinstance(option, ast.Constant) and option.value == "-m" and _is_package(name):
                yield name


def _is_package(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value in MOVED


def modules(root: Path) -> Set[str]:
    """The names of all modules that are moved, and of TARGET itself, in the repository."""
    paths = (path for package in (TARGET, *MOVED) for path in (root / package).rglob("*.py"))
    return {_name(path.relative_to(root)) for path in paths}


def _name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def write(root: Path, folder: Path) -> None:
    """Write TARGET as the wheel has it.

    Args:
        root: Of the repository, or of what a source distribution has of it.
        folder: Where it is written; empty.
    """
    others = modules(root)
    for package in (TARGET, *MOVED):
        for path in sorted((root / package).rglob("*")):
            name = path.relative_to(root)
            if not path.is_file() or "__pycache__" in name.parts:
                continue
            written = folder / (name if package == TARGET else Path(TARGET, name))
            written.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes()
            is_source = path.suffix in {".py", ".pyi"}
            written.write_bytes(Module(_name(name), content, others).relocated() if is_source else content)


class WheelContents(BuildHookInterface[Any]):
    """Has the wheel take the relocated packages instead of those of the repository."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is packed."""
        if version == "editable":
            raise NotRelocatable("an editable installation would not be what is edited")
        self._folder = tempfile.TemporaryDirectory(prefix="facet-wheel-")
        write(Path(self.root), Path(self._folder.name))
        build_data["force_include"][str(Path(self._folder.name, TARGET))] = TARGET

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Called behind it."""
        self._folder.cleanup()


class Extras(MetadataHookInterface):
    """Has the extras ask for what the files of requirements name, which `make lock` locks."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called with what pyproject.toml says."""
        root = Path(self.root)
        native = tomllib.loads((root / "native" / "pyproject.toml").read_text())["project"]
        extras = {
            extra: re.findall(r"(?m)^\w.*$", (root / name).read_text()) for extra, name in EXTRAS.items()
        }
        metadata["optional-dependencies"] = {**extras, "native": [f"{native['name']}=={native['version']}"]}
