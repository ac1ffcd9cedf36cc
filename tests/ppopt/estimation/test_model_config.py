"""A ``config.json`` is only data: whatever it contains, nothing of it runs, and what is wrong is said in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ppopt.estimation.model_config import read_model_config
from solver.errors import InputError
from tests.ppopt.estimation.models import DEEPSEEK, LLAMA, MIXTRAL, needs_libraries, write
from tests.running import call_ppopt

SMALL = LLAMA | {"num_hidden_layers": 2}

HOSTILE: dict[str, tuple[Any, str]] = {
    "a list": ("[1]", "must be a mapping, the configuration of a model; found list"),
    "nothing": ("", "Expecting value"),
    "broken": ("{", "Expecting property name"),
    "no number": ('{"model_type": "llama", "hidden_size": NaN}', "NaN is not a finite number"),
    "a key twice": ('{"model_type": "llama", "model_type": "gpt2"}', "appears twice"),
    "nested": ('{"model_type": "llama", "a": ' + "[" * 50 + "]" * 50 + "}", "is nested too deeply"),
    "nested without end": ("[" * 100_000, "is nested too deeply"),
    "too large": ('{"model_type": "llama", "a": "' + "x" * 1_000_000 + '"}', "is larger than"),
    "no architecture": ({}, "model_type: is missing"),
    "remote code": (LLAMA | {"auto_map": {"AutoConfig": "evil.Evil"}}, "auto_map: names code to run"),
    "remote code inside": (LLAMA | {"text_config": {"auto_map": {}}}, "auto_map: names code to run"),
    "layers without end": (LLAMA | {"num_hidden_layers": 10**9}, "num_hidden_layers: must be at most 4,096"),
    "fewer than no layers": (LLAMA | {"num_hidden_layers": -1}, "num_hidden_layers: must not be negative"),
    "experts without end": (MIXTRAL | {"num_local_experts": 10**9}, "num_local_experts: must be at most 4,096"),
    "modules without end": (
        MIXTRAL | {"num_local_experts": 4096, "num_hidden_layers": 4096},
        "layers times experts must be at most 500,000",
    ),
    "predictions without end": (
        DEEPSEEK | {"num_nextn_predict_layers": 10**12},
        "num_nextn_predict_layers: must be at most 4,096",
    ),
    "a size without end": (LLAMA | {"hidden_size": 10**30}, "hidden_size: must be at most 20,000,000"),
    "no size": (LLAMA | {"hidden_size": 0}, "hidden_size: must be a whole number of at least 1; found 0"),
    "a word for a size": (LLAMA | {"hidden_size": "x"}, "hidden_size: must be a whole number of at least 1; found x"),
    "no words": (LLAMA | {"vocab_size": 0}, "vocab_size: must be a whole number of at least 1; found 0"),
    "heads that do not divide": (
        LLAMA | {"hidden_size": 8193},
        "hidden_size: must be a multiple of num_attention_heads, 64; found 8193",
    ),
    "no heads": (LLAMA | {"num_attention_heads": 0}, "num_attention_heads: must be a whole number of at least 1"),
}
"""What is refused before a library sees it."""

REFUSED_BY_LIBRARIES: dict[str, tuple[Any, str]] = {
    "an unknown architecture": (SMALL | {"model_type": "lama"}, "has no architecture 'lama'; did you mean llama?"),
    "control characters": (SMALL | {"model_type": "a\nb\x1b[31m"}, "has no architecture"),
    "no decoder": ({"model_type": "t5"}, "t5 is no decoder that predicts the next token"),
    "no layers": (SMALL | {"num_hidden_layers": 0}, "the model has no list of layers"),
    "a word for layers": (SMALL | {"num_hidden_layers": "80"}, "cannot read this llama"),
    "an unknown function": (SMALL | {"hidden_act": "evil"}, "cannot build this llama"),
    "heads in no groups": (SMALL | {"num_key_value_heads": 7}, "cannot run this llama"),
    "more experts than there are": (MIXTRAL | {"num_hidden_layers": 2, "num_experts_per_tok": 9}, "cannot run"),
}

IGNORED = {
    "attn_implementation": "evil/kernels",
    "_attn_implementation": "evil/kernels",
    "experts_implementation": "evil/kernels",
    "quantization_config": {"quant_method": "evil"},
    "num_labels": 10**12,
    "id2label": {"a": 1},
}
"""Keys that do not describe the model; with some of them, a library would load or make things."""


def refusal(folder: Path, config: object) -> str:
    result = call_ppopt("estimate", str(write(folder, config)), "--seq", "128")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_model_is_refused_in_one_line_before_a_library_sees_it(name: str, tmp_path: Path) -> None:
    config, why = HOSTILE[name]
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    text = refusal(tmp_path, config)
    assert text.startswith(f"error: {tmp_path}/config.json: ")
    assert why in text
    assert not (tmp_path / "ran").exists()


@needs_libraries
@pytest.mark.parametrize("name", REFUSED_BY_LIBRARIES)
def test_what_libraries_refuse_is_one_line_too(name: str, tmp_path: Path) -> None:
    config, why = REFUSED_BY_LIBRARIES[name]
    text = refusal(tmp_path, config)
    assert text.startswith(f"error: {tmp_path}/config.json: model_type: ")
    assert why in text


@needs_libraries
def test_keys_that_do_not_describe_the_model_change_nothing(tmp_path: Path) -> None:
    plain, more = (write(tmp_path / name, SMALL | keys) for name, keys in (("plain", {}), ("more", IGNORED)))
    printed = [call_ppopt("estimate", str(each), "--seq", "128", "--format", "json") for each in (plain, more)]
    assert json.loads(printed[0].stdout) == json.loads(printed[1].stdout)


def test_a_file_that_is_missing_is_not_looked_for_elsewhere() -> None:
    with pytest.raises(InputError, match=r"No such file or directory; give the config.json of a model, or its folder"):
        read_model_config("meta-llama/Meta-Llama-3-70B")


def test_a_folder_and_its_file_are_the_same(tmp_path: Path) -> None:
    write(tmp_path, LLAMA)
    assert read_model_config(tmp_path) == read_model_config(tmp_path / "config.json")
    assert "torch_dtype" not in read_model_config(tmp_path)
