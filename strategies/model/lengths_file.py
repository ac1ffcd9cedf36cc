"""Files of lengths: the documents of each microbatch, as a run's own data loader writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from solver.errors import InputError
from strategies.model.configuration import parse_json
from strategies.model.items import read_tokens
from strategies.model.numbers import as_said, in_one_line, shown
from strategies.model.text_file import read_text_file

LARGEST_FILE = 100_000_000
"""Largest file of lengths in bytes."""

_LINE = "must be the tokens of each document, such as 4096 1200"


def read_lengths(path: str | Path) -> list[dict[str, Any]]:
    """Read a file of lengths as a configuration's list of microbatches.

    A text file has one microbatch a line, its documents separated by spaces or commas. A JSON file (by its name) has a
    list with a number, or a list of numbers, for each microbatch.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    InputError
        If it cannot be read, or a line is wrong; the message names the line.
    """
    name = in_one_line(path)
    text = read_text_file(Path(path), "a file of lengths", LARGEST_FILE)
    found = list(_from_json(name, text) if name.lower().endswith(".json") else _from_lines(name, text))
    if not found:
        raise InputError(f"{name}: is empty; it must have one microbatch a line: {_LINE.removeprefix('must be ')}")
    return [{"documents": documents} for documents in found]


def _from_lines(name: str, text: str) -> Iterator[list[int]]:
    for number, line in enumerate(text.rstrip().splitlines(), 1):
        words = re.split(r"[\s,]+", line.strip())
        if not all(word.isascii() and word.isdecimal() and len(word) < 20 for word in words):
            raise InputError(f"{name}, line {number}: {_LINE}; found {shown(line.strip())}")
        yield _tokens(f"{name}, line {number}", [int(word) for word in words])


def _from_json(name: str, text: str) -> Iterator[list[int]]:
    try:
        value = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: {as_said(error)}") from None
    if not isinstance(value, list):
        raise InputError(f"{name}: must be a list with the tokens of each microbatch; found {shown(value)}")
    for place, each in enumerate(value):
        yield _tokens(f"{name}, entry {place}", each if isinstance(each, list) and each else [each])


def _tokens(where: str, values: list[Any]) -> list[int]:
    try:
        return [read_tokens(value) for value in values]
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
