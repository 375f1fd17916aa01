"""The picture of the package, enforced: who may import whom, what is never imported, what nothing is called.

cli -> report -> training -> {objectives, turns} -> {encoder, data} -> {timebase, recipe, errors}
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "ssl_tt"
FILES = sorted(ROOT.rglob("*.py"))

BOTTOM = {"timebase", "recipe", "errors"}
DATA = BOTTOM | {"data"}
MAY_IMPORT = {
    "errors": set[str](),
    "timebase": {"errors"},
    "recipe": {"errors"},
    "data": DATA,
    "turns": DATA | {"encoder", "turns"},
    "encoder": BOTTOM | {"encoder"},
    "objectives": DATA | {"encoder", "objectives"},
    "training": DATA | {"encoder", "objectives", "turns", "training"},
    "report": DATA | {"encoder", "objectives", "turns", "training", "report"},
    "cli": DATA | {"encoder", "objectives", "turns", "training", "report"},
}

# Beside a class that needs torch stand its settings, which do not: help must not wait for it.
HEAVY = {
    "torch",
    "torchaudio",
    "accelerate",
    "sklearn",
    "scipy",
    "matplotlib",
    "soundfile",
    "safetensors",
    "tensorboard",
}
LIGHT = [
    path
    for path in FILES
    if path.name in ("__init__.py", "config.py") or (path.parent == ROOT and path.name != "timebase.py")
]
# Imported only where used: an extra, or one that fails to import beside some builds of torch.
ONLY_INSIDE_FUNCTIONS = {
    "torchaudio",
    "praatio",
    "espeakng_loader",
    "silero_vad",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "lhotse",
}
PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib"}
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "misc"}


def part(path: Path) -> str:
    """The folder or file below the package that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _runs_later(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def imports(path: Path, *, only_at_import: bool = False) -> Iterator[tuple[int, str]]:
    """Line and full name of every module that a file imports; `only_at_import`: without functions and TYPE_CHECKING."""

    def walk(node: ast.AST) -> Iterator[tuple[int, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((child.lineno, alias.name) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno}: relative import"
                names = [alias.name for alias in child.names]
                # `from ssl_tt import timebase` imports ssl_tt.timebase.
                yield from ((child.lineno, f"{child.module}.{name}") for name in names)
            elif only_at_import and _runs_later(child):
                continue
            else:
                yield from walk(child)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")))


def line(path: Path, number: int) -> str:
    return (
        f"{path.relative_to(ROOT.parent)}:{number}: {path.read_text(encoding='utf-8').splitlines()[number - 1].strip()}"
    )


def test_imports_run_one_way() -> None:
    wrong = []
    for path in FILES:
        if path == ROOT / "__init__.py":
            continue  # resolves public names on first use
        for number, name in imports(path):
            package, _, rest = name.partition(".")
            target = rest.partition(".")[0]
            is_part = (ROOT / target).is_dir() or (ROOT / f"{target}.py").exists()
            if package == "ssl_tt" and is_part and target not in MAY_IMPORT[part(path)]:
                wrong.append(line(path, number))
    assert not wrong, "\n".join(wrong)


def test_every_part_of_the_package_is_in_the_picture() -> None:
    assert {part(path) for path in FILES} - {"__init__"} == MAY_IMPORT.keys()


def test_settings_and_the_command_line_import_no_heavy_package() -> None:
    wrong = [
        line(path, number)
        for path in LIGHT
        for number, name in imports(path, only_at_import=True)
        if name.partition(".")[0] in HEAVY
    ]
    assert not wrong, "\n".join(wrong)


def test_extras_are_imported_only_where_used() -> None:
    wrong = [
        line(path, number)
        for path in FILES
        for number, name in imports(path, only_at_import=True)
        if name.partition(".")[0] in ONLY_INSIDE_FUNCTIONS
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_is_called_by_a_vague_name() -> None:
    names = [path for path in ROOT.rglob("*") if path.stem in VAGUE_NAMES]
    assert not names, names


def test_nothing_is_pickled() -> None:
    wrong = [line(path, n) for path in FILES for n, name in imports(path) if name.partition(".")[0] in PICKLES]
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.save", "torch.load"):
                wrong.append(line(path, node.lineno))
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
                wrong.append(line(path, node.value.lineno))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", ["ssl_tt", "ssl_tt.cli", "ssl_tt.training.config", "ssl_tt.recipe"])
def test_importing_settings_imports_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
