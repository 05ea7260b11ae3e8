"""The shape of the code: sizes of files and functions, and imports that go one way.

A module may import modules of its own layer and of the layers below, also inside of functions. Modules must not
import each other in a circle. Imports under `TYPE_CHECKING` never run and do not count, and neither do docstrings in
the length of a function.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from helpers import ROOT

PACKAGE = ROOT / "src" / "mulap_hf"
MOST_LINES, MOST_FUNCTION_LINES = 500, 60
# From the bottom to the top. `*` stands for any end of a module's name.
LAYERS = (
    "errors arguments files remote settings scripts metrics sampling_rate configuration_mulap* arguments_mulap",
    "audio* waveform_mulap padding_mulap decoding cluster",
    "modeling_mulap* feature_extraction_mulap processing_mulap tokenization pipeline_mulap* sentence_mulap",
    "registration conversion* loading embedding* onnx_*",
    "synthetic",
    "data publishing",
    "pretraining",
    "transfer",
    "search",
    "illustration benchmark mteb_evaluation similarity",
    "real_music",
    "commands cli",
)
# Longer than that, and why it is better in one piece: "file" or "file: function" -> reason.
LONG = {}


def module_name(path: Path) -> str:
    """`mulap_hf.data.card` as "data.card", a package by its own name, mulap_hf itself as ""."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
SOURCES = [
    path for folder in ("src", "training", "model_cards", "tests") for path in sorted((ROOT / folder).rglob("*.py"))
]


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from nodes(child)


@cache
def imports(name: str) -> list[str]:
    """The modules of the package that a module imports."""
    path = MODULES[name]
    package = module_name(path.parent / "__init__.py").split(".") if path.parent != PACKAGE else []
    found = []
    for node in nodes(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        words = (node.module or "").split(".") if node.module else []
        if node.level:
            words = package[: len(package) - node.level + 1] + words
        elif words[:1] == ["mulap_hf"]:
            words = words[1:]
        else:
            continue
        for alias in node.names:
            full = ".".join([*words, alias.name])
            found.append(full if full in MODULES else ".".join(words))
    return sorted({target for target in found if target != name})


def layer(name: str) -> int:
    """The number of a module's layer; the package's `__init__` only passes names on when they are used."""
    part = name.split(".")[0]
    if not part:
        return 0
    for number, parts in enumerate(LAYERS):
        if part in parts.split():
            return number
    starts = [
        (len(prefix), number)
        for number, parts in enumerate(LAYERS)
        for prefix in (entry[:-1] for entry in parts.split() if entry.endswith("*"))
        if part.startswith(prefix)
    ]
    assert starts, f"{name} is in none of the LAYERS: add it to the one that it belongs to"
    return max(starts)[1]


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_imports_go_down(name):
    upward = [target for target in imports(name) if layer(target) > layer(name)]
    assert upward == [], f"{name} (layer {layer(name)}) imports what is above it"


def test_no_circle_of_imports():
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]):
        assert name not in path, f"a circle of imports: {' -> '.join([*path[path.index(name) :], name])}"
        if name not in done:
            for target in imports(name):
                if target:  # the package's own names are imported when they are used
                    visit(target, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function without its docstring."""
    docstring = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes(path):
    text, name = path.read_text(), str(path.relative_to(ROOT))
    found = {name} if text.count("\n") > MOST_LINES else set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and code_lines(node) > MOST_FUNCTION_LINES:
            found.add(f"{name}: {node.name}")
    assert found <= LONG.keys(), f"longer than {MOST_LINES} or {MOST_FUNCTION_LINES} lines"
