"""Help and usage errors load nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import ppopt

HEAVY = ("multiprocessing", "ortools", "pandas", "altair", "networkx", "numpy", "pydantic", "torch")


ASKED = (
    ["--help"],
    ["--version"],
    ["evaluate", "--help"],
    ["evaluate", "--nope"],
    ["nope"],
    ["evaluate", "1f1b", "--engine", "x"],
)


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys\nfrom ppopt.commands.cli import cli\n"
        f"for arguments in {ASKED!r}:\n"
        "    try: cli.main(arguments)\n"
        "    except SystemExit: pass\n"
        f"    print('loaded', [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert [line for line in result.stderr.splitlines() if line.startswith("loaded")] == ["loaded []"] * len(ASKED)


def test_an_import_loads_nothing_heavy_either() -> None:
    program = f"import sys, ppopt; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    program = "import ppopt; print(all(hasattr(ppopt, name) for name in ppopt.__all__), callable(ppopt.schedule))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "True True"


def test_the_lists_of_public_names_agree() -> None:
    """The names loaded at first use, the names that type checkers see and ``__all__`` are the same three times."""
    tree = ast.parse(Path(ppopt.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom) and node.module != "typing"]
    typed = {(each.name, node.module) for node in imports for each in node.names}
    assert typed == set(ppopt._HOME_OF.items())
    listed = [name for names in ppopt._HOMES.values() for name in names]
    assert sorted(ppopt.__all__) == sorted([*listed, "__version__"])
