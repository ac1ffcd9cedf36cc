from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from ppopt import InputError
from strategies.model.configuration import read_configuration, split_strategy

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        (BOMB, "aliases"),
        ("devices: 2\ndevices: 3\n", "line 2: the key 'devices' appears twice"),
        ("[" * 5000, "nested too deeply"),
        ("devices: [1, 2\n", "line 2"),
        ("devices: " + "9" * 5000, "a number has thousands of digits"),
        ("? [a, b]\n: 1\n", "a key is not a name"),
        ("!!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("a: 1\n<<: {b: 2}\n", "line 2: merge keys (<<) are not allowed"),
        ("a: 1\n---\na: 2\n", "line 2: a second document (---) is not allowed"),
        ("\x00\x01\x02", "special characters are not allowed"),
    ],
)
def test_a_bad_file_is_refused_with_its_name(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "costs.yaml"
    file.write_text(content)
    with pytest.raises(InputError) as refused:
        read_configuration(file)
    assert str(refused.value).startswith(str(file))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"devices": 2, "devices": 3}', "the key 'devices' appears twice"),
        ('{"devices": NaN}', "NaN is not a finite number"),
        ('{"devices": -Infinity}', "-Infinity is not a finite number"),
        ("[" * 5000, "nested too deeply"),
        ("{", "Expecting property name"),
        ('{"devices": ' + "9" * 5000 + "}", "a number has thousands of digits"),
    ],
)
def test_a_bad_json_file_is_refused_with_its_name(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "costs.json"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        read_configuration(file)


def test_what_is_not_a_readable_text_file_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * 5_000_000)
    for path, message in [
        (tmp_path, "cannot be read: Is a directory"),
        (tmp_path / "absent.yaml", "cannot be read: No such file"),
        (binary, "is not text"),
        (large, "larger than a configuration"),
    ]:
        with pytest.raises(InputError, match=message):
            read_configuration(path)


def test_exponents_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / "costs.yaml"
    file.write_text("a: 1e3\nb: 1.5e-3\nc: -2E+2\nd: 1.5\ne: 7\n")
    assert read_configuration(file) == {"a": 1000, "b": Decimal("0.0015"), "c": -200, "d": 1.5, "e": 7}


def test_the_strategy_is_taken_out() -> None:
    given = {"devices": 2, "strategy": "interleave", "microbatch_group_size_per_vp_stage": 3}
    assert split_strategy(given) == ({"devices": 2}, "interleave", 3)


@pytest.mark.parametrize("group_size", ["x", 0, True, 2.0, "2"])
def test_a_wrong_group_size_is_refused_where_it_is_not_used(group_size: object) -> None:
    given = {"devices": 2, "strategy": "1f1b", "microbatch_group_size_per_vp_stage": group_size}
    with pytest.raises(InputError, match=r"^microbatch_group_size_per_vp_stage: must be a whole number of at least 1"):
        split_strategy(given)


def test_hydras_own_keys_are_ignored() -> None:
    given = {"devices": 2, "defaults": ["_self_"], "hydra": {"run": {"dir": "."}}, "visualization_port": 1}
    assert split_strategy(given).mapping == {"devices": 2}


@pytest.mark.parametrize("name", ["costs.yaml", "costs.json"])
def test_numbers_keep_every_digit(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    for number in ("0.12345678901234567890123", "1e-400", "3.5", "1.25e+2"):
        file.write_text(f'{{"a": {number}}}')
        assert read_configuration(file)["a"] == Decimal(number)
    file.write_text('{"a": 1e-99999999999999999999}')
    with pytest.raises(InputError, match="is not a number between 1e-30 and 1e30"):
        read_configuration(file)


def test_a_path_is_a_path() -> None:
    for wrong in (None, 3, b"costs.yaml"):
        with pytest.raises(InputError, match="configuration: must be the path of a file; found"):
            read_configuration(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="configuration: '' names no file"):
        read_configuration("")
