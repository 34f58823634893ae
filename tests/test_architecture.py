"""The house stands: imports only go down, rooms on one floor do not know each other, nothing loads a pickle.

Read from the syntax tree, so that an import inside a function or under TYPE_CHECKING counts as well.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeroom.stages import CIRCLE

ROOT = Path(__file__).parent.parent
FLOORS = {
    "__init__": 0, "files": 0, "memory": 0, "settings": 0, "progress": 0,
    "drawing": 1, "models": 1, "parallel": 1, "planner": 1, "tasks": 1, "text": 1, "workspace": 1,
    "data": 2, "inference": 2,
    "training": 3, "evaluation": 3, "serving": 3,
    "stages": 4,
    "recipe": 5, "report": 5,
    "cli": 6,
    "__main__": 7,
}  # fmt: skip
MAY_OPEN_THE_WORKSPACE = {"workspace", "serving", "stages", "recipe", "report", "cli"}
NEVER_MEET = {frozenset({"training", "evaluation"}), frozenset({"serving", "data"})}
PICKLES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
PICKLE_LOADERS = {"torch.load", "torch.save", "pandas.read_pickle", "pd.read_pickle"}


def room_of(module: str) -> str:
    """The room that `homeroom.models.gpt` is in: models. The package itself is the room `__init__`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(module: str, source: str, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """Every (line, absolute module) that the source imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                drop = node.level - (1 if is_package else 0)
                parents = module.split(".")[:-drop] if drop else module.split(".")
                base = ".".join([*parents, *([base] if base else [])])
            if base == "homeroom":  # `from homeroom import models` names the room only after `import`
                yield from ((node.lineno, f"homeroom.{name.name}") for name in node.names)
            else:
                yield node.lineno, base


def broken_floors(module: str, source: str, is_package: bool = False) -> list[str]:
    here = room_of(module)
    found = []
    for line, imported in imports(module, source, is_package):
        there = room_of(imported)
        if not imported.startswith("homeroom.") or there in (here, "__version__"):
            continue
        if there not in FLOORS:
            found.append(f"{module}:{line} imports {imported}: give the room a floor")
        elif frozenset({here, there}) in NEVER_MEET:
            found.append(f"{module}:{line} imports {imported}: {here} and {there} never meet")
        elif there == "workspace" and here not in MAY_OPEN_THE_WORKSPACE:
            found.append(f"{module}:{line} imports {imported}: {here} takes objects and paths instead")
        elif FLOORS[there] >= FLOORS[here]:
            found.append(f"{module}:{line} (floor {FLOORS[here]}) imports {imported} (floor {FLOORS[there]})")
    return found


def pickles(module: str, source: str) -> list[str]:
    found = [
        f"{module}:{line} imports {imported}"
        for line, imported in imports(module, source)
        if imported.split(".")[0] in PICKLES
    ]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in PICKLE_LOADERS:
            found.append(f"{module}:{node.lineno} uses {ast.unparse(node)}")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            found.append(f"{module}:{node.value.lineno} allows pickles")
    return found


def files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


PACKAGE = files("homeroom")


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(module_of(path)) for path in PACKAGE}
    assert rooms <= FLOORS.keys()


def test_imports_only_go_down() -> None:
    broken = []
    for path in PACKAGE:
        broken += broken_floors(module_of(path), path.read_text("utf-8"), path.name == "__init__.py")
    assert broken == []


def test_steps_of_the_circle_do_not_know_each_other() -> None:
    found = set()
    for step in CIRCLE:
        for node in ast.walk(ast.parse((ROOT / f"homeroom/stages/{step}.py").read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                named = {f"{node.module}.{name.name}" for name in node.names} | {node.module}
                found |= {(step, other) for other in CIRCLE if f"homeroom.stages.{other}" in named}
    # The judge is a reward model; only its questions and its seed are others.
    assert found == {("judge", "reward")}


def test_nothing_loads_a_pickle() -> None:
    found = []
    for path in files("homeroom", "bench"):
        found += pickles(module_of(path), path.read_text("utf-8"))
    assert found == []


def test_every_file_says_what_it_is_for() -> None:
    silent = []
    for path in files("homeroom", "bench"):
        source = path.read_text("utf-8")
        if source.strip() and not ast.get_docstring(ast.parse(source)):
            silent.append(str(path.relative_to(ROOT)))
    assert silent == []


def test_no_file_is_two_rooms() -> None:
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in files("homeroom", "bench", "tests")}
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > 400} == {}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("homeroom.models.gpt", "from homeroom.training.loop import train"),
        ("homeroom.models.gpt", "def f():\n    import homeroom.text.tokenizer"),
        ("homeroom.models.gpt", "from homeroom import text"),
        ("homeroom.models.gpt", "from ..text import tokenizer"),
        ("homeroom.training.loop", "from homeroom.evaluation import comparison"),
        ("homeroom.serving.app", "from homeroom.data import sources"),
        ("homeroom.data.sources", "from homeroom.workspace import Workspace"),
        ("homeroom.stages.sft", "from homeroom.recipe import Recipe"),
        ("homeroom.report.page", "from homeroom import recipe"),
        ("homeroom.cli", "import homeroom.cellar"),
    ],
)
def test_the_rule_sees_a_broken_floor(module: str, source: str) -> None:
    assert len(broken_floors(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("homeroom.models.gpt", "from homeroom.settings import Frozen\nfrom .attention import Attention"),
        ("homeroom.stages.sft", "from homeroom.training import loop\nimport homeroom.workspace"),
        ("homeroom.cli", "from homeroom import __version__, recipe"),
    ],
)
def test_the_rule_lets_imports_go_down(module: str, source: str) -> None:
    assert broken_floors(module, source) == []


@pytest.mark.parametrize(
    "source",
    ["import pickle", "import torch\ntorch.load('x')", "import numpy\nnumpy.load(x, allow_pickle=True)"],
)
def test_the_rule_sees_a_pickle(source: str) -> None:
    assert len(pickles("homeroom.models.gpt", source)) == 1
