"""Reads the ``config.json`` of a model, whatever it contains, and refuses what is no model before a library sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from solver.errors import InputError
from strategies.model.configuration import parse_json
from strategies.model.numbers import as_said, in_one_line
from strategies.model.text_file import read_text_file

LARGEST_FILE = 1_000_000
LARGEST_SIZE = 20_000_000
"""No size of a model is larger: vocabularies have hundreds of thousands of entries, contexts ten million tokens."""

MOST_LAYERS = 4096
MOST_EXPERTS = 4096
MOST_MODULES = 500_000
"""Layers times experts: a library makes a Python object of each."""
DEEPEST = 20
NOT_THE_MODELS = {
    *("quantization_config", "attn_implementation", "experts_implementation", "dtype", "torch_dtype"),
    *("num_labels", "id2label", "label2id", "task_specific_params"),
}
"""Keys that say how to run a model, which ``--dtype`` and ``--flash`` say here, or for other tasks than training it."""


def read_model_config(path: str | Path) -> dict[str, Any]:
    """Read a ``config.json``, or that of a folder, without the keys that do not describe the model.

    Raises
    ------
    InputError
        If it cannot be read, is no configuration of a model, names code to run, or has sizes that no model has.
    """
    if "\0" in str(path) or not str(path):
        raise InputError(f"CONFIG: {str(path)!r} names no file")
    file = config_file(path)
    text = read_text_file(file, "the config.json of a model", LARGEST_FILE, _cure)
    name = in_one_line(file)
    try:
        config = _plain(parse_json(text), 0)
    except ValueError as error:
        raise InputError(f"{name}: {as_said(error)}") from None
    except RecursionError:
        raise InputError(f"{name}: is nested too deeply") from None
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    try:
        return _checked(config)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def config_file(path: str | Path) -> Path:
    """Return the file itself, or that of a folder."""
    return Path(path) / "config.json" if Path(path).is_dir() else Path(path)


def _cure(path: Path) -> str:
    return "" if path.exists() else "; give the config.json of a model, or its folder (nothing is downloaded)"


def _plain(value: Any, depth: int) -> Any:
    """Turn exact decimals into floats, which libraries expect."""
    if depth > DEEPEST:
        raise InputError("is nested too deeply")
    if isinstance(value, dict):
        return {str(key): _plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, depth + 1) for each in value]
    return float(value) if isinstance(value, Decimal) else value


def _checked(config: Any) -> dict[str, Any]:
    if not isinstance(config, dict):
        raise InputError(f"must be a mapping, the configuration of a model; found {type(config).__name__}")
    kind = config.get("model_type")
    if not isinstance(kind, str) or not kind:
        raise InputError("model_type: is missing: the config.json of a model names its architecture there")
    for key, value in _entries(config, ""):
        _check_entry(key, value)
    _check_sizes(config)
    return _described(config)


def _entries(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield every value with its key, however deep."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield name, each
            yield from _entries(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from _entries(each, key)
    elif key:
        yield key, value


def _check_entry(key: str, value: Any) -> None:
    if key == "auto_map":
        raise InputError(
            "auto_map: names code to run with the model, which ppopt never runs; remove the key if transformers has "
            "this architecture itself"
        )
    if isinstance(value, bool) or not isinstance(value, int) or key in NOT_THE_MODELS:
        return
    most = MOST_LAYERS if _counts(key, "layer") else MOST_EXPERTS if _counts(key, "expert") else LARGEST_SIZE
    if value > most:
        raise InputError(f"{key[:40]}: must be at most {most:,}; found {in_one_line(value)[:24]}")
    if (most != LARGEST_SIZE or key == "intermediate_size") and value < 0:
        raise InputError(f"{key[:40]}: must not be negative; found {in_one_line(value)[:24]}")


def _counts(key: str, what: str) -> bool:
    lower = key.lower()
    return what in lower and lower.startswith(("n_", "num_", f"n{what}"))


def _check_sizes(config: Mapping[str, Any]) -> None:
    """Check the sizes of a model, or of its text part, against each other."""
    for part in [config, *(each for each in config.values() if isinstance(each, Mapping))]:
        hidden, heads = part.get("hidden_size", part.get("n_embd")), part.get("num_attention_heads", part.get("n_head"))
        sizes = {"hidden_size": hidden, "num_attention_heads": heads, "vocab_size": part.get("vocab_size")}
        for key, value in sizes.items():
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise InputError(f"{key}: must be a whole number of at least 1; found {in_one_line(value)[:24]}")
        if hidden and heads and part.get("head_dim") is None and part.get("kv_lora_rank") is None and hidden % heads:
            raise InputError(f"hidden_size: must be a multiple of num_attention_heads, {heads}; found {hidden}")
        layers = [value for key, value in part.items() if _counts(key, "layer") and isinstance(value, int)]
        experts = [value for key, value in part.items() if _counts(key, "expert") and isinstance(value, int)]
        if max(layers, default=1) * max(experts, default=1) > MOST_MODULES:
            raise InputError(f"num_hidden_layers: layers times experts must be at most {MOST_MODULES:,}")


def _described(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out, at every level, what says how the model is run and not what it is."""
    kept: dict[str, Any] = {}
    for key, value in config.items():
        if key in NOT_THE_MODELS or key.startswith("_"):
            continue
        kept[key] = _described(value) if isinstance(value, Mapping) else value
    return kept
