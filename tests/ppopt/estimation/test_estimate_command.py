"""``ppopt estimate``: a layers file whose numbers follow from counts and from what it says it assumes."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

import ppopt
from ppopt.estimation.division import Division, bytes_per_parameter
from ppopt.estimation.estimate import Speed, Workload, estimate
from ppopt.estimation.gpus import DTYPES, GPUS, read_gpus
from ppopt.estimation.libraries import OLDEST
from strategies.model.configuration import read_configuration
from tests.ppopt.estimation.models import DEEPSEEK, GPT2, LLAMA, MIXTRAL, Config, needs_libraries, write
from tests.running import call_ppopt
from tests.test_rooms import ROOT

MIXED = 18
TINY = GPT2 | {"n_embd": 64, "n_head": 4, "n_layer": 4, "vocab_size": 1000}


def made(folder: Path, config: Config, *options: str) -> dict[str, Any]:
    """Return the layers file that the command prints."""
    result = call_ppopt("estimate", str(write(folder, config)), *options)
    assert result.returncode == 0, result.stderr
    mapping = yaml.safe_load(result.stdout)
    assert isinstance(mapping, dict)
    return mapping


def layers_of(mapping: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {layer["name"]: layer for layer in mapping["layers"]}


@needs_libraries
def test_the_example_is_what_estimate_makes_of_llama(tmp_path: Path) -> None:
    config = ROOT / "examples" / "llama-70b-config.json"
    example = ROOT / "examples" / "llama-70b-layers.yaml"
    command = next(line[4:] for line in example.read_text().splitlines() if line.startswith("#   ppopt estimate"))
    arguments = command.split()[1:]
    assert arguments[1] == "examples/llama-70b-config.json"
    assert json.loads(config.read_text()).items() >= {key: LLAMA[key] for key in LLAMA if "tie" not in key}.items()
    result = call_ppopt(*arguments, cwd=ROOT)
    found, kept = yaml.safe_load(result.stdout), read_configuration(example)
    assert {**found, "devices": 8, "microbatches": 64} == json.loads(json.dumps(kept, default=float))
    decoder, head = layers_of(found)["decoder"], layers_of(found)["head"]
    giga_per_token = 8192 * 1e9 / 8 / 400e12 * 1000
    assert decoder["forward"] / giga_per_token == pytest.approx(1.711 + 0.134, abs=0.001)
    assert decoder["backward_input"] / giga_per_token == pytest.approx(1.711 + 2 * 0.134, abs=0.001)
    assert decoder["backward_weight"] / giga_per_token == pytest.approx(1.711, abs=0.001)
    assert head["forward"] / giga_per_token == pytest.approx(2.101, abs=0.001)
    assert found["communication"]["bytes"] == 2 * 8192 * 8192 // 8
    assert decoder["static"] == pytest.approx(855_654_400 / 8 * 7.5 / 1e9, rel=1e-3)


@needs_libraries
def test_times_of_the_other_example_come_out_as_well(tmp_path: Path) -> None:
    """They were worked out by hand: an all-to-all of 6.8 ms was added to F and I of layers of experts."""
    example = layers_of(read_configuration(ROOT / "examples" / "deepseek-v3-layers.yaml"))
    divided = ("--expert-parallel", "64", "--data-parallel", "64", "--optimizer", "distributed")
    config = DEEPSEEK | {"num_nextn_predict_layers": 1}
    found = layers_of(made(tmp_path, config, "--seq", "4096", "--tflops", "400", *divided))
    names = {"decoder-dense": "dense", "decoder-moe": "moe", "mtp": "mtp", "head": "head"}
    assert [*found] == ["embedding", *names]
    for name, other in names.items():
        for key in ("forward", "backward_input", "backward_weight"):
            added = 6.8 if other in ("moe", "mtp") and key != "backward_weight" else 0
            assert found[name][key] == pytest.approx(float(example[other][key]) - added, abs=0.11), (name, key)


@pytest.mark.slow
@needs_libraries
def test_all_commands_take_the_file_and_say_that_costs_are_estimated(tmp_path: Path) -> None:
    folder, costs = write(tmp_path / "model", TINY), str(tmp_path / "costs.yaml")
    printed = call_ppopt("estimate", str(folder), "--seq", "256", "-o", costs)
    assert "GPT2LMHeadModel" in printed.stdout
    assert printed.stdout.endswith(f"costs: {costs}\n")
    sizes = ("--devices", "2", "--microbatches", "4")
    pipeline = ppopt.Pipeline.from_mapping(read_configuration(costs) | {"devices": 2, "microbatches": 4})
    assert (pipeline.source, pipeline.tokens, pipeline.unit, pipeline.memory.unit) == ("estimated", 256, "ms", "GB")
    for command in (
        ("evaluate", "1f1b", "gpipe", "-c", costs, *sizes),
        ("plan", "1f1b", "-c", costs, *sizes, "--time-limit", "5"),
    ):
        result = call_ppopt(*command)
        assert result.returncode == 0, result.stderr
        assert "on estimated costs" in result.stdout.lower()
    assert "layers_per_stage" not in pipeline.to_mapping()
    assert pipeline.to_mapping()["source"] == "estimated"


@needs_libraries
def test_work_and_memory_are_divided_as_megatron_divides_them(tmp_path: Path) -> None:
    one = layers_of(made(tmp_path, DEEPSEEK, "--seq", "4096", "--tflops", "400"))
    divided = made(
        *(tmp_path, DEEPSEEK, "--seq", "4096", "--tflops", "400"),
        *("--tensor-parallel", "2", "--context-parallel", "4", "--expert-parallel", "8", "--data-parallel", "4"),
        *("--optimizer", "distributed"),
    )
    assert divided["communication"]["bytes"] == 2 * 4096 * 7168 // 8
    for name, layer in layers_of(divided).items():
        for key in ("backward_input", "backward_weight", "activation", "held_for_weight"):
            if name != "embedding":
                assert layer[key] == pytest.approx(one[name][key] / 8, rel=1e-3)
    dense, experts = 11_507_286_016 - 11_274_289_152, 11_274_289_152
    moe = layers_of(divided)["decoder-moe"]
    expected = dense / 2 * (6 + 12 / 16) + experts / 2 / 8 * (6 + 12 / 2)
    assert one["decoder-moe"]["static"] == pytest.approx((dense + experts) * MIXED / 1e9, rel=1e-3)
    assert moe["static"] == pytest.approx(expected / 1e9, rel=1e-3)


@needs_libraries
def test_what_may_be_recomputed_is_a_key_of_the_layers(tmp_path: Path) -> None:
    def decoder(*options: str) -> dict[str, Any]:
        return layers_of(made(tmp_path, LLAMA, "--seq", "2048", "--tflops", "400", *options))["decoder"]

    none, full, selective = (decoder("--no-flash", "--recompute", how) for how in ("none", "full", "selective"))
    assert "recompute" not in none
    assert full["recompute"] == {"activation": pytest.approx(2 * 2048 * 8192 / 1e9, rel=1e-3)}
    scores = 2 * 64 * 2048**2
    assert none["activation"] - selective["recompute"]["activation"] == pytest.approx(scores / 1e9, rel=1e-2)
    with_flash = call_ppopt("estimate", str(tmp_path), "--recompute", "selective")
    assert "note: --recompute selective saves next to nothing with flash attention" in with_flash.stderr
    assert selective["recompute"]["time"] == pytest.approx(4 * 2048**2 * 8192 / 400e9, rel=1e-3)


@needs_libraries
def test_json_is_of_one_layer_and_microbatch_before_anything_is_divided(tmp_path: Path) -> None:
    options = ("--seq", "1024", "--format", "json")
    plain, divided = (
        json.loads(call_ppopt("estimate", str(write(tmp_path, MIXTRAL)), *options, *more).stdout)
        for more in ((), ("--tensor-parallel", "4", "--expert-parallel", "2", "--data-parallel", "2"))
    )
    assert plain == divided
    assert plain.keys() == {"parameters", "layers"}
    assert plain["parameters"] == 46_702_792_704 == sum(each["count"] * each["parameters"] for each in plain["layers"])
    assert plain["layers"][1].keys() >= {"name", "count", "parameters", "flops", "activation_bytes"}
    assert plain["layers"][1]["flops"].keys() == {"forward", "backward_input", "backward_weight"}


def test_wrong_options_are_one_line(tmp_path: Path) -> None:
    folder = str(write(tmp_path, LLAMA | {"num_hidden_layers": 1}))
    for options, why in {
        ("--efficiency", "0"): "--efficiency: must be more than 0 and at most 1",
        ("--efficiency", "45"): "--efficiency: must be more than 0 and at most 1",
        ("--tflops", "400", "--efficiency", "0.4"): "give one of the two",
        ("--tflops", "4000"): "at most 989.5, the peak of h100 in bfloat16",
        ("-o", f"{folder}/config.json"): "would overwrite the input",
    }.items():
        result = call_ppopt("estimate", folder, *options)
        assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
        assert why in result.stderr


@needs_libraries
def test_a_division_that_megatron_refuses_is_one_line(tmp_path: Path) -> None:
    folder = str(write(tmp_path, LLAMA | {"num_hidden_layers": 1}))
    for options, why in {
        ("--tensor-parallel", "3"): "--tensor-parallel: must divide the 64 attention heads; found 3",
        ("--seq", "100", "--tensor-parallel", "8"): "--tensor-parallel: the ranks (8) must divide the 100 tokens",
        ("--expert-parallel", "2"): "--expert-parallel: the model has no experts to divide; found 2",
    }.items():
        result = call_ppopt("estimate", folder, *options)
        assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
        assert why in result.stderr


def test_without_the_libraries_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import importlib.util, sys; found = importlib.util.find_spec\n"
        "absent = ('torch', 'transformers')\n"
        "importlib.util.find_spec = lambda name, *more: None if name in absent else found(name, *more)\n"
        "from ppopt.commands.cli import main; sys.argv[0] = 'ppopt'; main()"
    )
    result = run_code(code, "estimate", str(write(tmp_path, TINY)))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "error: PyTorch and transformers are not installed, which build and count the model: "
        "pip install 'ppopt[model]'\n"
    )


def test_libraries_that_are_too_old_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppopt.estimation.libraries.find_spec", lambda _: object())
    monkeypatch.setattr("ppopt.estimation.libraries.version", {"torch": "2.13.0+cpu", "transformers": "4.57.1"}.get)
    result = call_ppopt("estimate", str(write(tmp_path, TINY)))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(
        "error: transformers 4.57 is too old to build and count the model, which needs 5.24: "
    )


def test_the_oldest_libraries_are_those_of_the_extra() -> None:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["model"]
    assert [re.findall(r"^(\w+)>=([\d.]+)", each)[0] for each in extra] == [
        (name, ".".join(map(str, oldest))) for name, oldest in OLDEST.items()
    ]


def run_code(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300, check=False, cwd=ROOT
    )


@needs_libraries
@pytest.mark.slow
def test_no_network_is_tried(tmp_path: Path) -> None:
    code = (
        "import socket, sys\n"
        "def refuse(*_, **__): print('NETWORK', file=sys.stderr); raise OSError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse\n"
        "from ppopt.commands.cli import main; sys.argv[0] = 'ppopt'; main()"
    )
    result = run_code(code, "estimate", str(write(tmp_path, TINY)), "--seq", "64")
    assert (result.returncode, result.stderr) == (0, "")


def test_help_needs_no_library() -> None:
    code = (
        "import sys; from ppopt.commands.cli import cli\n"
        "cli(['estimate', '--help'], standalone_mode=False); print(sorted(sys.modules))"
    )
    loaded = run_code(code).stdout
    assert "Estimate the costs" in loaded
    assert "'torch'" not in loaded
    assert "'transformers'" not in loaded


def test_gpus_are_those_of_the_file_and_faster_where_they_are_newer() -> None:
    gpus = read_gpus()
    assert tuple(gpus) == GPUS
    assert all(gpu.peak.keys() == set(DTYPES.values()) for gpu in gpus.values())
    newer = [gpus[name] for name in ("a100", "h100", "b200")]
    for older, new in pairwise(newer):
        assert new.peak["bfloat16"] > older.peak["bfloat16"]
        assert new.memory_bandwidth > older.memory_bandwidth


def test_optimizers_keep_what_megatron_documents() -> None:
    assert bytes_per_parameter("adam-mixed", "bfloat16", 1) == 18
    assert bytes_per_parameter("distributed", "bfloat16", 8) == 6 + 12 / 8
    assert bytes_per_parameter("distributed", "float32", 4) == 8 + 8 / 4
    assert bytes_per_parameter("adam-bf16", "bfloat16", 8) == 8


# ---- against published steps (SimuMax, B200)

MEASURED = Path(__file__).parents[2] / "data" / "simumax_b200_pp2.csv"
OF_DEEPSEEK_V2 = {
    "model_type": "deepseek_v2",
    "hidden_size": 5120,
    "intermediate_size": 12288,
    "moe_intermediate_size": 1536,
    "n_routed_experts": 160,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "topk_group": 3,
    "vocab_size": 102400,
}
MODELS: dict[str, Config] = {
    "llama3-70b": LLAMA,
    "llama3-405b": LLAMA | {"hidden_size": 16384, "intermediate_size": 53248, "num_attention_heads": 128},
    "deepseekv2": DEEPSEEK | OF_DEEPSEEK_V2 | {"first_k_dense_replace": 1},
    "deepseekv3": DEEPSEEK | {"first_k_dense_replace": 1},
}


def predicted(folder: Path, row: dict[str, str]) -> ppopt.Schedule:
    """Replay a published run: sequences of 4,096 tokens, one of them in a microbatch."""
    layers, experts = int(row["layers"]), 4 if "ep4" in row["parallel"] else 1
    pipeline, data, chunks = (4, 2, 2) if "pp4" in row["parallel"] else (2, 4, 1)
    config = MODELS[row["model"]] | {"num_hidden_layers": layers}
    costs = estimate(
        write(folder / f"{row['model']}-{layers}", config),
        Workload(4096),
        Speed("b200", efficiency=0.48),
        Division(expert=experts, data=data),
        optimizer="distributed",
        pipeline=pipeline,
    ).layers.to_mapping()
    stages = pipeline * chunks
    cut = [layers // stages] * stages
    cut[0], cut[-1] = cut[0] + 1, cut[-1] + 1
    more = {"devices": pipeline, "microbatches": int(row["microbatches"]), "layers_per_stage": cut}
    return ppopt.evaluate(
        ppopt.Pipeline.from_mapping(costs | more), "1f1b" if chunks == 1 else f"interleaved:stages={stages}"
    )


@needs_libraries
def test_steps_and_memory_are_near_those_that_simumax_measured(tmp_path: Path) -> None:
    with MEASURED.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 13
    for row in rows:
        found = predicted(tmp_path, row)
        assert found.makespan == pytest.approx(float(row["real_ms"]), rel=0.12), row["case"]
        if row["real_alloc_gib"]:
            peak = max(found.peak_memory) * 1e9 / 2**30
            assert peak == pytest.approx(float(row["real_alloc_gib"]), rel=0.1), row["case"]
