"""Everything named in documentation, page and messages exists: options, commands, files, anchors and public names."""

from __future__ import annotations

import ast
import importlib.util
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import ppopt
from ppopt.commands.cli import cli
from tests.test_rooms import ROOMS, ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
TEMPLATE = ROOT / "reports" / "page" / "page.html.j2"

OTHER_PROGRAMS = {
    "pip": {"-e"},  # how to install
    "python": {"-m", "--list"},  # how to run a benchmark
    "dask": {"--nthreads", "--nworkers"},  # how to start a cluster
    "torchrun": {"--nproc-per-node"},  # how to start the code of docs/how-to/run-it.md
    "Megatron": {  # its options for cuts, recomputation and `group_size`
        *("--pipeline-model-parallel-size", "--pipeline-model-parallel-layout", "--num-layers", "--mtp-num-layers"),
        *("--recompute-granularity", "--recompute-method", "--recompute-num-layers"),
        "--microbatch-group-size-per-virtual-pipeline-stage",
        *("--global-batch-size", "--micro-batch-size", "--num-virtual-stages-per-pipeline-rank"),
        *("--num-layers-per-virtual-pipeline-stage", "--overlap-moe-expert-parallel-comm"),
        *("--overlap-grad-reduce", "--use-distributed-optimizer"),
        *("--decoder-first-pipeline-num-layers", "--decoder-last-pipeline-num-layers"),
        "--no-overlap-p2p-communication",
    },
    "zero-bubble": {  # its options for schedules
        *("--enable-zero-bubble", "--zero-bubble-max-pending-backward", "--enable-optimizer-post-validation"),
        *("--zero-bubble-v-schedule", "--zero-bubble-v-schedule-mem-setup"),
        *("--enable-1f1b-v", "--interleave-group-size"),
    },
}
"""Options of other programs, which may be named only together with the program."""

FRAMEWORKS = {"Megatron", "zero-bubble"}
"""Programs whose options are named in a paragraph or section about them."""

READERS_OWN_FILES = {"strategies/catalogue/terapipe.py", "run_order.py", "config_registry.py"}
"""Files that readers create: a schedule, a copy of the code in docs/how-to/run-it.md, torchtitan's configuration."""

MADE_FOR_THE_SITE = {"docs/reference/generated", "docs/start/tour.ipynb"}
"""Files that `make docs` makes and `make clean` removes."""

FILES_OF_FRAMEWORKS = {
    "combined_1f1b.py",
    "pipeline_parallel.py",
    "runtime.py",
    "schedule_table_factory.py",
    "dualpipev.py",
}
"""Files of other projects in which rules were read."""

COMMANDS: dict[str, click.Command] = {
    name: cli.get_command(click.Context(cli), name) for name in cli.list_commands(None)
}  # type: ignore[misc, arg-type]
OPTION = r"(?<![\w.\[-])(--[a-z][a-z0-9-]*|-[a-zA-Z])(?![\w-])"


def options_of(command: str) -> dict[str, click.Option]:
    context = click.Context(COMMANDS[command])
    options = [each for each in COMMANDS[command].get_params(context) if isinstance(each, click.Option)]
    return {name: each for each in options for name in (*each.opts, *each.secondary_opts)} | dict.fromkeys(
        cli.context_settings["help_option_names"], click.Option(["--help"])
    )


class Mention(NamedTuple):
    """An option with its value, and the commands of which at least one must have it."""

    option: str
    value: str
    commands: tuple[str, ...]
    where: str


@dataclass(frozen=True)
class Block:
    """A paragraph, a cell of a table, or lines of code.

    Attributes
    ----------
    text : str
        The whole text.
    pieces : list of str
        The parts marked as code.
    owner : str
        For the first cell of a row, the command whose options these are.
    is_aside : bool
        Whether the command that it names is not the subject of the following blocks.
    """

    text: str
    pieces: list[str]
    owner: str = ""
    is_aside: bool = False


# ---- reading documents


def blocks_of(path: Path) -> Iterator[Block]:
    """Read a document block by block, with text marked as code and all of each code block as pieces."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        lines = (line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
        yield from (Block(line, [line] if line.startswith("ppopt ") else []) for line in lines)
        return
    if path == TEMPLATE:
        yield from (Block(line, re.findall("<code>(.*?)</code>", line)) for line in text.splitlines())
        return
    text = re.sub(r"^```\{.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)  # directives of the site
    for at, part in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        if at % 2:
            yield Block(part, [re.sub(r"\s#.*", "", line).removeprefix("$ ") for line in part.splitlines()])
            continue
        for section in re.split(r"\n(?=#)", part):
            for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*] |\d+\. ))", section):
                yield from (
                    table_blocks(path, paragraph, section)
                    if "\n| ---" in paragraph
                    else [prose_block(paragraph, section)]
                )


def prose_block(text: str, section: str = "") -> Block:
    """Return a paragraph together with the heading above it."""
    return Block(section.partition("\n")[0] + text, re.findall(r"`([^`]+)`", text))


def table_blocks(path: Path, table: str, section: str) -> Iterator[Block]:
    """Yield the cells of a table; options in its first column belong to the header's or the document's command."""
    header, _, *rows = table.strip().splitlines()
    named = re.findall(r"`ppopt (\w+)`", header)
    owner = named[0] if named else path.stem if path.stem in COMMANDS else ""
    for row in rows:
        first, _, rest = row.replace("\\|", "¦").strip("| ").partition("|")
        yield replace(prose_block(first.replace("¦", "|"), section), owner=owner)
        yield replace(prose_block(rest.replace("¦", "|"), section), is_aside=True)


def called(piece: str) -> str:
    """Return the command that a piece of code calls: `ppopt evaluate …`, or `evaluate` alone or before an option."""
    found = re.match(r"ppopt ([a-z]+)|([a-z]+)(?= --|$)", piece)
    name = (found[1] or found[2]) if found else ""
    return name if name in COMMANDS else ""


def other_program(block: Block, piece: str) -> str:
    starts = re.match(r"(?:\S*/)?(\w+)", piece)
    return next(
        (
            name
            for name in OTHER_PROGRAMS
            if (starts and starts[1] == name) or (name in FRAMEWORKS and name in block.text)
        ),
        "",
    )


def mentions_in(path: Path) -> Iterator[Mention]:
    own = (path.stem,) if path.stem in COMMANDS else ()
    current = own
    for block in blocks_of(path):
        named = tuple(dict.fromkeys(filter(None, map(called, block.pieces))))
        for piece in block.pieces:
            program = other_program(block, piece)
            commands = (
                (called(piece),) if called(piece) else (block.owner,) if block.owner else (named or current) + own
            )
            for found in re.finditer(OPTION + r"[ =]?([^\s,`]*)", piece):
                if not (program and found[1] in OTHER_PROGRAMS[program]):
                    yield Mention(found[1], found[2], commands, f"{path.relative_to(ROOT)}: {piece[:80]}")
        current = current if block.is_aside else named or current


# ---- options


@pytest.mark.parametrize("path", [*DOCUMENTS, *EXAMPLES, TEMPLATE], ids=lambda path: path.name)
def test_every_option_is_one_of_the_command_that_it_is_mentioned_with(path: Path) -> None:
    wrong = [
        f"{mention.option} of {' or '.join(mention.commands) or 'no command'} ({mention.where})"
        for mention in mentions_in(path)
        if not any(has(command, mention) for command in mention.commands)
    ]
    assert wrong == []


def has(command: str, mention: Mention) -> bool:
    option = options_of(command).get(mention.option)
    if option is None or not isinstance(option.type, click.Choice):
        return option is not None
    values = [value for value in mention.value.split("|") if re.fullmatch("[a-z]+", value)]
    return set(values) <= set(map(str, option.type.choices))


def test_the_readers_of_documents_find_options() -> None:
    found = [mention for path in [*DOCUMENTS, *EXAMPLES, TEMPLATE] for mention in mentions_in(path)]
    assert len(found) > 100
    assert len({mention.option for mention in found}) > 25
    missing = Mention("--save", "", ("compare",), "")
    assert not has("compare", missing)
    assert has("evaluate", missing)
    assert not has("optimize", Mention("--objective", "makespan|spam", ("optimize",), ""))


def test_every_option_of_the_command_line_is_explained_with_its_command_or_another_where_it_is_the_same() -> None:
    mentioned = {
        (name, mention.option) for path in DOCUMENTS for mention in mentions_in(path) for name in mention.commands
    }
    explained = {options_of(name)[option].help for name, option in mentioned if option in options_of(name)}
    missing = [
        f"{command} {name}"
        for command in COMMANDS
        for name, option in options_of(command).items()
        if name.startswith("--") and name != "--help" and option.help not in explained
    ]
    assert missing == []


def test_every_option_that_the_program_speaks_of_exists() -> None:
    every = {name for command in COMMANDS for name in options_of(command)} | {"--version"}
    found = {(name, file.name) for file, text in program_texts().items() for name in re.findall(OPTION, text)}
    of_megatron = [file.name for file, text in program_texts().items() if "Megatron" in text]
    megatrons = {(name, file) for name in OTHER_PROGRAMS["Megatron"] for file in of_megatron}
    assert {(name, file) for name, file in found - megatrons if name.startswith("--") and name not in every} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_no_option_that_its_command_has_not(command: str) -> None:
    shown = COMMANDS[command].get_help(click.Context(COMMANDS[command], info_name=f"ppopt {command}"))
    for line in shown.splitlines():
        owner = next((name for name in COMMANDS if f"ppopt {name}`" in line and name != command), command)
        for name in re.findall(OPTION, line):
            assert name in options_of(command) or name in options_of(owner), line


@cache
def program_texts() -> dict[Path, str]:
    """Return all strings of each file of the program: its messages and its docstrings."""
    files = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    nodes = {file: ast.walk(ast.parse(file.read_text(encoding="utf-8"))) for file in files}
    return {
        file: "\n".join(node.value for node in each if isinstance(node, ast.Constant) and isinstance(node.value, str))
        for file, each in nodes.items()
    }


# ---- commands


def code_of(path: Path) -> list[str]:
    return [piece for block in blocks_of(path) for piece in block.pieces]


def test_every_command_of_ppopt_exists() -> None:
    found = []
    for path in [*DOCUMENTS, *EXAMPLES, TEMPLATE]:
        for piece in code_of(path):
            found += [(name, path.name) for name in re.findall(r"^ppopt ([a-z][a-z-]*)", piece)]
    for file, text in program_texts().items():
        found += [(name, file.name) for name in re.findall(r"`ppopt ([a-z][a-z-]*)", text)]
    assert [each for each in found if each[0] not in COMMANDS] == []
    assert {name for name, _ in found} == set(COMMANDS)


# ---- files


FILE = r"(?<![\w/.~])((?:examples|docs|tests|benchmarks|strategies|reports|solver|ppopt)/[\w./*-]*)"


def test_every_file_of_the_project_exists() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in [*DOCUMENTS, *EXAMPLES, TEMPLATE, ROOT / "Makefile"]}
    wrong = [
        f"{path.name}: {name}"
        for path, text in (texts | program_texts()).items()
        for name in (name.rstrip(".") for name in re.findall(FILE, text))
        if name not in READERS_OWN_FILES | MADE_FOR_THE_SITE and not list(ROOT.glob(name.rstrip("/")))
    ]
    assert wrong == []


def test_every_file_of_python_that_is_named_alone_exists() -> None:
    there = {file.name for room in (*ROOMS, "benchmarks", "tests") for file in (ROOT / room).rglob("*.py")}
    for path in DOCUMENTS:
        for name in re.findall(r"`(\w+\.py)`", path.read_text(encoding="utf-8")):
            assert name in there | READERS_OWN_FILES | FILES_OF_FRAMEWORKS, path.name


def test_every_module_that_is_run_exists() -> None:
    found = {name for path in DOCUMENTS for name in re.findall(r"python -m ([\w.]+)", path.read_text(encoding="utf-8"))}
    found |= {
        name
        for file in (ROOT / "benchmarks").glob("*.py")
        for name in re.findall(r"python -m ([\w.]+)", file.read_text(encoding="utf-8"))
    }
    assert found
    for name in found:
        assert importlib.util.find_spec(name.rstrip(".")), name


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), target
        assert not anchor or anchor in anchors_of(file), target


def anchors_of(path: Path) -> set[str]:
    """Return the anchors that a Markdown viewer gives to headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ---- names of the package


def test_every_name_of_the_package_is_exported() -> None:
    found = [
        (name, path.name)
        for path in DOCUMENTS
        for piece in code_of(path)
        for name in re.findall(r"(?<![\w./])ppopt\.(\w+(?:\.\w+)*)", piece)
    ]
    assert len(found) > 20
    assert [each for each in found if not is_exported(each[0].split("."))] == []


def test_every_attribute_of_an_exported_class_exists() -> None:
    classes = {name for name in ppopt.__all__ if isinstance(getattr(ppopt, name), type)}
    found = [
        (owner, name, path.name)
        for path in DOCUMENTS
        for piece in code_of(path)
        for owner, name in re.findall(r"(?<![\w.])([A-Z]\w+)\.(\w+)", piece)
        if owner in classes
    ]
    assert found
    assert [each for each in found if not is_exported(each[:2])] == []


def is_exported(names: Iterable[str]) -> bool:
    first, *rest = names
    if first not in ppopt.__all__:
        return False
    thing = getattr(ppopt, first)
    for name in rest:
        if is_dataclass(thing) and name in {field.name for field in fields(thing)}:
            return True
        if not hasattr(thing, name):
            return False
        thing = getattr(thing, name)
    return True


def test_every_extra_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for path in DOCUMENTS:
        for names in re.findall(r"'(?:ppopt|\.)\[([\w,]+)\]'", path.read_text(encoding="utf-8")):
            assert set(names.split(",")) <= set(extras), path.name


def test_the_page_of_the_api_lists_every_name() -> None:
    listed = re.findall(r"^   (\w+)$", (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8"), re.M)
    assert sorted(listed) == sorted(set(ppopt.__all__) - {"__version__"})


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 800


@pytest.mark.parametrize("page", ["noise", "sweep", "calibrate", "fidelity", "coming-from", "slow-devices"])
def test_the_first_screen_of_the_readme_leads_to(page: str) -> None:
    first_screen, _, _ = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")
    assert re.search(rf"\]\(docs/[\w/.#-]*{page}", first_screen)
