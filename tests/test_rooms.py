"""The rooms know only what lies below them: solver ← strategies ← ppopt, solver ← reports ← ppopt."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("solver", "strategies", "reports", "ppopt")
MAY_NOT = {
    "solver": {"strategies", "reports", "ppopt", "pandas", "altair", "click", "pydantic", "yaml"},
    "strategies": {"reports", "ppopt", "pandas", "altair", "click", "ortools", "networkx"},
    "reports": {"strategies", "ppopt", "ortools", "click", "pydantic"},
    "ppopt": set(),
}
SOLVER_DATA_TYPES = {
    "solver.counted",
    "solver.numbered",
    "solver.problem",
    "solver.programs",
    "solver.repetition",
    "solver.errors",
    "solver.exact",
    "solver.states",
}


@cache
def imports(file: Path) -> tuple[str, ...]:
    return tuple(imports_in(file))


def imports_in(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide the direction"
            yield node.module or ""


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_downwards(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    for file in files:
        tops = {name.split(".")[0] for name in imports(file)}
        assert not tops & MAY_NOT[room], f"{file.relative_to(ROOT)} imports {sorted(tops & MAY_NOT[room])}"


def home_of(name: str) -> Path | None:
    """Return the file of a module; None for packages and for modules that are not ours."""
    file = ROOT / (name.replace(".", "/") + ".py")
    return file if name.split(".")[0] in ROOMS and file.exists() else None


def test_files_form_no_cycle() -> None:
    """Imports in functions and for types count, too: code that needs them hidden is divided in the wrong place."""
    graph: nx.DiGraph[Path] = nx.DiGraph()
    for file in (file for room in ROOMS for file in (ROOT / room).rglob("*.py") if file.name != "__init__.py"):
        for name in imports(file):
            if (imported := home_of(name)) is not None:
                graph.add_edge(file.relative_to(ROOT), imported.relative_to(ROOT))
    assert graph.number_of_edges() > 500
    assert list(nx.simple_cycles(graph, length_bound=4)) == []
    assert nx.is_directed_acyclic_graph(graph)


MOST_FLOORS = 8
"""Most levels of folders inside a room, since a reader must know every level below the current one."""


@pytest.mark.parametrize("room", ROOMS)
def test_folders_form_no_cycle(room: str) -> None:
    """A room's own `__init__` and `__main__` are its entry points and lie above all its folders."""
    graph: nx.DiGraph[Path] = nx.DiGraph()
    for file in (ROOT / room).rglob("*.py"):
        for name in imports(file):
            imported = home_of(name)
            if imported is not None and imported.parent != file.parent and imported.is_relative_to(ROOT / room):
                is_door = file.parent == ROOT / room and file.stem in ("__init__", "__main__")
                graph.add_edge(file if is_door else file.parent, imported.parent)
    assert graph.number_of_edges()
    assert list(nx.simple_cycles(graph)) == []
    folders = graph.subgraph(node for node in graph if node.suffix == "")
    assert nx.dag_longest_path_length(folders) < MOST_FLOORS


def test_strategies_have_no_loose_files() -> None:
    assert [file.name for file in (ROOT / "strategies").glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("room", ["strategies", "reports"])
def test_only_data_types_of_the_solver_are_known_above_it(room: str) -> None:
    for file in (ROOT / room).rglob("*.py"):
        used = {name for name in imports(file) if name.split(".")[0] == "solver"}
        assert used <= SOLVER_DATA_TYPES, file


def test_modules_that_docstrings_name_exist() -> None:
    for file in (file for room in ROOMS for file in (ROOT / room).rglob("*.py")):
        for name in re.findall(r"`((?:solver|strategies|reports)(?:\.\w+)+)`", file.read_text()):
            assert home_of(name) or home_of(name.rpartition(".")[0]), f"{file}: {name}"


def test_a_schedule_is_a_small_file() -> None:
    for file in (ROOT / "strategies" / "catalogue").glob("*.py"):
        assert len(file.read_text().splitlines()) <= 45, file


def test_the_rooms_are_typed() -> None:
    assert all((ROOT / room / "py.typed").exists() for room in ROOMS)
