"""``ppopt measure`` runs what ``ppopt estimate`` counts; its file goes through a plan into a rehearsal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import ppopt
from ppopt.estimation.measure import measure
from ppopt.noise.spread_file import read_spreads
from strategies.model.configuration import read_configuration
from tests.ppopt.estimation.models import GPT2, LLAMA, MIXTRAL, Config, needs_libraries, write
from tests.running import call_ppopt, run_ppopt

pytestmark = needs_libraries

SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2}
MODELS: dict[str, Config] = {
    "grouped queries": LLAMA | SMALL | {"num_hidden_layers": 4, "vocab_size": 500},
    "shared embedding": GPT2 | {"n_embd": 64, "n_head": 4, "n_layer": 4, "vocab_size": 500},
    "experts": MIXTRAL | SMALL | {"num_hidden_layers": 2, "vocab_size": 500},
}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads that wait for each other take long where other tests run."""
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def measured(folder: Path, config: Config, *options: str) -> dict[str, Any]:
    result = call_ppopt("measure", str(write(folder, config)), "--seq", "64", "--seconds", "0", *options)
    assert result.returncode == 0, result.stderr
    mapping = yaml.safe_load(result.stdout)
    assert isinstance(mapping, dict)
    return mapping


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", MODELS)
def test_what_is_measured_is_what_is_counted(name: str, tmp_path: Path) -> None:
    found = measured(tmp_path, MODELS[name])
    options = ("--seq", "64", "--dtype", "fp32", "--format", "json")
    counted = json.loads(call_ppopt("estimate", str(tmp_path), *options).stdout)
    assert found["source"] == "measured"
    assert found["tokens"] == 64
    assert [(each["name"], each["count"]) for each in found["layers"]] == [
        (each["name"], each["count"]) for each in counted["layers"]
    ]
    embedding, decoder, head = found["layers"]
    assert embedding["backward_input"] == 0
    assert all(layer[key] > 0 for layer in (decoder, head) for key in ("forward", "backward_input", "backward_weight"))
    kept = counted["layers"][1]
    assert decoder["activation"] * 1e9 >= 0.9 * kept["activation_bytes"]  # without fused kernels it is more
    assert kept["held_for_weight_bytes"] <= 1.001 * decoder["held_for_weight"] * 1e9 <= decoder["activation"] * 1e9
    parameters = kept["parameters"] * 16 / 1e9
    assert decoder["static"] == pytest.approx(parameters, rel=1e-3)
    ppopt.Pipeline.from_mapping(found | {"devices": 2, "microbatches": 4})


def test_a_cpu_says_that_it_is_one_and_repeats_at_least_three_times(tmp_path: Path) -> None:
    folder, costs, spread = (
        write(tmp_path / "model", MODELS["grouped queries"]),
        tmp_path / "c.yaml",
        tmp_path / "s.csv",
    )
    result = call_ppopt(
        *("measure", str(folder), "--seq", "32", "--seconds", "0", "--device", "cpu", "--stages", "2"),
        *("-o", str(costs), "--spread", str(spread)),
    )
    assert result.stdout.splitlines() == [f"costs: {costs}", f"spread: {spread}"]
    assert "note: these are times of a CPU: they say nothing about a GPU\n" in result.stderr
    text = costs.read_text()
    assert re.search(r"# MEASURED on a CPU with 1 thread, in float32", text)
    assert "# 2 layers of a kind ran as one" in text
    assert {int(times) for times in re.findall(r", (\d+) times?$", text, re.MULTILINE)} & {3, 6}
    spreads = read_spreads(spread)
    assert spreads.stages == 1 + 4 + 1
    assert spreads.of("forward", 1, 2) is not None
    evaluated = call_ppopt(
        *("evaluate", "1f1b", "-c", str(costs), "--devices", "2", "--microbatches", "4", "--spread", str(spread))
    )
    assert evaluated.returncode == 0, evaluated.stderr
    assert "estimated" not in evaluated.stdout


def test_what_does_not_fit_is_refused_before_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppopt.estimation.measuring._free_memory", lambda _: 10**6)
    result = call_ppopt("measure", str(write(tmp_path, LLAMA)), "--seq", "64")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert re.search(
        r"the layers to run need about \d+\.\d GB \(head: 1,050,\d+,\d+ parameters\), and 0.0 GB", result.stderr
    )


def test_a_device_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        return
    result = call_ppopt("measure", str(write(tmp_path, MODELS["experts"])), "--device", "cuda")
    assert (result.returncode, result.stderr) == (
        2,
        "error: --device: PyTorch finds no GPU here; take cpu, or leave it out\n",
    )
    result = call_ppopt("measure", str(tmp_path), "--spread", str(tmp_path / "spread.yaml"))
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.endswith("must end in .csv\n")


@pytest.mark.slow
def test_a_measurement_that_is_interrupted_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ppopt.estimation import measuring

    repeats = []

    def say(text: str) -> None:
        repeats.append(text)
        if len(repeats) == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(measuring, "PRECISION", 0.0)
    found = measure(write(tmp_path, MODELS["experts"]), seq=16, seconds=60, say=say)
    assert not found.measured.is_precise
    assert found.measured.pieces["decoder"].spreads["backward"].times >= 3


@pytest.mark.slow
def test_a_measured_model_is_planned_and_its_plan_runs_as_predicted(tmp_path: Path) -> None:
    more = {"hidden_size": 256, "intermediate_size": 704, "num_attention_heads": 8, "num_key_value_heads": 4}
    folder = write(tmp_path / "model", MODELS["grouped queries"] | more)
    costs, plan = str(tmp_path / "costs.yaml"), str(tmp_path / "plan.yaml")
    sizes = ("--devices", "2", "--microbatches", "6")
    for command in (
        ("measure", str(folder), "--seq", "256", "--seconds", "5", "-o", costs),
        ("plan", "1f1b", "-c", costs, *sizes, "--stages-per-device", "1", "--time-limit", "5", "--save", plan),
    ):
        assert run_ppopt(*command).returncode == 0
    assert sum(read_configuration(plan)["layers_per_stage"]) == 6
    result = run_ppopt("rehearse", "1f1b", "-c", plan, "--steps", "2", "--format", "json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    predicted = ppopt.evaluate(ppopt.Pipeline.from_file(plan), "1f1b")
    assert found["predicted_nominal"] == pytest.approx(predicted.makespan)
    assert 0.95 < found["median"] / predicted.makespan < 1.5  # a busy machine wakes its processes late
    assert found["peak_activations"]["measured"] == pytest.approx(found["peak_activations"]["predicted"])
    assert found["gradient_difference"] < 1e-6
