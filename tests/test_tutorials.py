"""Every command and every piece of Python in the tutorials runs, and prints what is written below it.

In a page, the lines of a ``console`` block that begin with ``$`` are commands; what follows one is its output, with
notes and errors. A ``python`` block prints the ``text`` block below it; pages without such a pair keep their Python for
readers. Words are compared, not spaces and line breaks, since a terminal wraps lines. `…` stands for any text. A page
runs from top to bottom, in a folder of its own with a copy of ``examples/``; one that needs an extra is skipped without
it.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from ppopt.commands.cli import cli
from tests.ppopt.estimation.models import needs_libraries
from tests.test_documentation import DOCUMENTS
from tests.test_rooms import ROOT


class Example(NamedTuple):
    """A command or a piece of Python, with the output written below it."""

    language: str
    code: str
    output: str


PYTHON = r"^```python\n(?P<python>.*?)^```\n(?:\s*^```text\n(?P<text>.*?)^```)?"
CONSOLE = r"^```console\n(?P<console>.*?)^```"
BLOCK = re.compile(f"{PYTHON}|{CONSOLE}", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n", re.MULTILINE)


def examples_of(text: str) -> Iterator[Example]:
    blocks = list(BLOCK.finditer(text))
    prints_something = any(each["text"] for each in blocks)
    for each in blocks:
        if each["console"]:
            _, *parts = COMMAND.split(each["console"])
            for command, output in zip(parts[::2], parts[1::2], strict=True):
                yield Example("console", command.replace("\\\n", ""), output)
        elif prints_something:
            yield Example("python", each["python"], each["text"] or "")


PAGES = [path for path in DOCUMENTS if list(examples_of(path.read_text(encoding="utf-8")))]

NEEDS = {"from-config.md": needs_libraries}
"""What pages need beyond the core."""

LONG = ("moe.md", "which-layers.md", "which-schedule.md")
"""Pages whose examples take more than two seconds."""


def marks_of(page: Path) -> list[pytest.MarkDecorator]:
    needs = [NEEDS[page.name]] if page.name in NEEDS else []
    return [*needs, pytest.mark.slow] if page.name in LONG else needs


def prints(written: str, printed: str) -> bool:
    """Compare word by word; `…` between two words stands for no text as well."""
    wanted = re.escape(" ".join(written.split()))
    for ellipsis, anything in ((r"\ …\ ", r"\ (?:.*\ )?"), (r"…\ ", r"(?:.*\ )?"), (r"\ …", r"(?:\ .*)?"), ("…", ".*")):
        wanted = wanted.replace(ellipsis, anything)
    return re.fullmatch(wanted, " ".join(printed.split())) is not None


def run_command(line: str) -> str:
    program, *arguments = shlex.split(line, comments=True)
    if program == "cat":
        return "".join(Path(name).read_text(encoding="utf-8") for name in arguments)
    assert program == "ppopt", line
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def run_python(code: str, names: dict[str, object], page: Path) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(page), "exec"), names)  # our own page
    return printed.getvalue()


@pytest.mark.parametrize("page", [pytest.param(page, marks=marks_of(page), id=page.name) for page in PAGES])
def test_every_example_of_a_page_prints_what_is_written(page: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    names: dict[str, object] = {"__name__": "__main__"}
    with contextlib.chdir(tmp_path):
        for language, code, output in examples_of(page.read_text(encoding="utf-8")):
            printed = run_command(code) if language == "console" else run_python(code, names, page)
            assert prints(output, printed), f"{code}\nprints\n{printed}\nand not\n{output}"


def test_all_tutorials_are_run() -> None:
    assert set((ROOT / "docs" / "start").glob("*.md")) - set(PAGES) <= {ROOT / "docs" / "start" / "index.md"}


def test_words_are_compared_and_an_ellipsis_stands_for_any_text() -> None:
    assert prints("a  b\n c", "a b c\n")
    assert prints("a … d", "a b c d")
    assert prints("… a … b …", "a b")
    assert prints("a… d", "abc d")
    assert not prints("a … d", "a b cd")
    assert prints("a\n…", "a\n b\n")
    assert not prints("a b", "a c")
    assert not prints("a", "a b")
    assert not prints("12.3", "1243")


def test_a_page_is_read_block_by_block() -> None:
    page = "```console\n$ ppopt a \\\n    -b\none\ntwo\n$ ppopt c\n```\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n"
    assert list(examples_of(page)) == [
        Example("console", "ppopt a     -b", "one\ntwo\n"),
        Example("console", "ppopt c", ""),
        Example("python", "print(1)\n", "1\n"),
    ]
    assert list(examples_of("```python\nimport torch\n```\n```\n1\n```\n")) == []


def test_every_cell_of_the_tour_prints_what_is_stored(tmp_path: Path) -> None:
    """Cells run one after the other in one namespace, as in a kernel; of a picture only its text is compared."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    notebook = json.loads((ROOT / "examples" / "tour.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    with contextlib.chdir(tmp_path / "examples"):
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                code = "".join(cell["source"])
                printed = run_command(code.removeprefix("!")) if code.startswith("!") else run_cell(code, names)
                assert prints(stored(cell), printed), f"{code}\nprints\n{printed}\nand not\n{stored(cell)}"


def stored(cell: dict[str, Any]) -> str:
    return "\n".join("".join(each.get("text") or each["data"]["text/plain"]) for each in cell["outputs"])


def run_cell(code: str, names: dict[str, object]) -> str:
    """Run a cell; the value of an expression at its end is shown, as in a notebook."""
    statements = ast.parse(code).body
    if isinstance(statements[-1], ast.Expr) and "print(" not in ast.unparse(statements[-1]):
        statements[-1] = ast.parse(f"print(repr({ast.unparse(statements[-1])}))").body[0]
    return run_python("\n".join(map(ast.unparse, statements)), names, ROOT / "examples" / "tour.ipynb")
