"""What is counted of a layer is what its architecture says, in closed form."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppopt.estimation.counts import Count, CountedModel
from ppopt.estimation.estimate import Workload, count
from tests.ppopt.estimation.models import (
    DEEPSEEK,
    GEMMA,
    GPT2,
    LLAMA,
    MIXTRAL,
    QWEN,
    QWEN_MOE,
    Config,
    Layer,
    deepseek,
    experts,
    gpt2,
    llama,
    needs_libraries,
    qwen,
    write,
)

pytestmark = needs_libraries

SEQ = 2048
EXPECTED: dict[str, tuple[Config, int, dict[str, tuple[int, Layer]]]] = {
    "Llama 3 70B": (LLAMA, 70_553_706_496, {"decoder": (80, llama(LLAMA))}),
    "Qwen3 8B": (QWEN, 8_190_735_360, {"decoder": (36, qwen(QWEN))}),
    "Gemma 7B": (GEMMA, 8_537_680_896, {"decoder": (28, llama(GEMMA))}),
    "Mixtral 8x7B": (MIXTRAL, 46_702_792_704, {"decoder": (32, experts(MIXTRAL, number=8, size=14336))}),
    "Qwen3 30B-A3B": (
        QWEN_MOE,
        30_532_122_624,
        {"decoder": (48, experts(QWEN_MOE, number=128, size=768, norms=2 * 128))},
    ),
    "DeepSeek-V3": (
        DEEPSEEK,
        671_026_404_352,
        {"decoder-dense": (3, deepseek(DEEPSEEK, dense=True)), "decoder-moe": (58, deepseek(DEEPSEEK, dense=False))},
    ),
    "GPT-2": (GPT2, 124_439_808, {"decoder": (12, gpt2(GPT2))}),
}
"""Configurations as published, the published numbers of parameters, and closed forms of the layers."""


def counted(folder: Path, config: Config, **workload: object) -> CountedModel:
    return count(write(folder, config), Workload(**{"seq": SEQ} | workload))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", EXPECTED)
def test_parameters_and_flops_of_a_layer_are_exactly_those_of_its_architecture(name: str, tmp_path: Path) -> None:
    config, parameters, layers = EXPECTED[name]
    found = counted(tmp_path, config, microbatch_size=2)
    assert found.parameters == parameters
    embedding, *rows, head = found.rows
    assert [(row.name, row.count) for row in rows] == [(each, number) for each, (number, _) in layers.items()]
    tokens = 2 * SEQ
    for row in rows:
        layer = layers[row.name][1]
        matrices, attention = 2 * layer.met * tokens, layer.scores * SEQ * tokens  # half of 2: scores are masked
        assert row.cost.parameters == layer.parameters
        assert row.cost.forward == matrices + attention
        assert row.cost.backward_input == matrices + 2 * attention
        assert row.cost.backward_weight == matrices
        assert row.cost.attention == attention
    hidden, vocabulary = config.get("hidden_size", config.get("n_embd")), config["vocab_size"]
    assert {head.cost.forward, head.cost.backward_input, head.cost.backward_weight} == {
        2 * hidden * vocabulary * tokens
    }
    assert embedding.cost.parameters == hidden * (vocabulary + config.get("n_positions", 0))
    is_shared = name in ("Gemma 7B", "GPT-2")
    assert head.cost.shared == (hidden * vocabulary if is_shared else 0)
    assert sum(row.count * row.cost.parameters for row in found.rows) == parameters


def decoder(folder: Path, config: Config, **workload: object) -> Count:
    return counted(folder, config, **workload).rows[1].cost


def test_full_attention_counts_all_scores_and_a_window_those_in_it(tmp_path: Path) -> None:
    half, full = (decoder(tmp_path, QWEN, causal=causal) for causal in (True, False))
    assert full.attention == 2 * half.attention
    assert full.backward_weight == half.backward_weight
    window = {"sliding_window": 512, "sliding_window_pattern": 6, "num_hidden_layers": 12, "head_dim": 128}
    gemma = {**QWEN, **window, "model_type": "gemma3_text"}
    rows = counted(tmp_path, gemma).rows
    names = [(row.name, row.count) for row in rows[1:-1]]
    assert names == [("decoder-local", 5), ("decoder-global", 1)] * 2
    local, far = rows[1].cost, rows[2].cost
    assert far.attention == half.attention
    assert local.attention * SEQ**2 == far.attention * 512 * (2 * SEQ - 512)  # all pairs, less those further away


def test_layers_that_cost_the_same_are_one_row(tmp_path: Path) -> None:
    gemma = {**QWEN, "sliding_window": 4096, "sliding_window_pattern": 6, "model_type": "gemma3_text"}
    assert [(row.name, row.count) for row in counted(tmp_path, gemma).rows[1:-1]] == [("decoder", 36)]


def test_multi_token_prediction_is_a_layer_a_projection_and_the_head_again(tmp_path: Path) -> None:
    plain, further = (counted(tmp_path, DEEPSEEK | more) for more in ({}, {"num_nextn_predict_layers": 1}))
    (moe, head), (mtp, both) = (found.rows[-2:] for found in (plain, further))
    h = DEEPSEEK["hidden_size"]
    assert (mtp.name, mtp.count) == ("mtp", 1)
    assert mtp.cost.parameters == moe.cost.parameters + 2 * h * h + 3 * h
    assert mtp.cost.forward == moe.cost.forward + 2 * 2 * h * h * SEQ
    assert (both.cost, both.runs) == (head.cost, 2)
    assert both.whole.forward == 2 * head.cost.forward
    assert both.whole.parameters == head.cost.parameters


KORTHIKANTI = {
    "queries, keys and values take their norm's result": 2,
    "queries and keys": 4,
    "values": 2,
    "the projection takes the result of attention": 2,
    "the mask of its dropout": 1,
    "the block takes its norm's result": 2,
    "GeLU takes": 8,
    "the second matrix takes": 8,
    "the mask of its dropout ": 1,
    "two norms take": 4,
}
"""Bytes for each token and hidden unit (Korthikanti et al. 2022, section 4.1), less what attention keeps of scores."""


@pytest.mark.parametrize("heads", [12, 16, 96])
def test_kept_bytes_are_those_of_korthikanti_with_and_without_flash_attention(heads: int, tmp_path: Path) -> None:
    hidden = 128 * heads
    config = GPT2 | {"n_embd": hidden, "n_head": heads, "n_layer": 1}
    flash, scores = (decoder(tmp_path, config, flash=flash, microbatch_size=2) for flash in (True, False))
    unit = SEQ * 2 * hidden
    assert sum(KORTHIKANTI.values()) == 34
    assert flash.activation == pytest.approx(34 * unit, rel=0.03)
    assert scores.activation == pytest.approx((34 + 5 * heads * SEQ / hidden) * unit, rel=0.03)
    assert flash.held_for_weight == (2 + 2 + 2 + 8) * unit  # what the four matrices take
    sums, statistics = 4 * SEQ * 2 * heads, 2 * 4 * SEQ * 2
    assert flash.activation == 34 * unit + sums + statistics  # what flash attention and norms keep in their place
    assert flash.of_attention == sums


def test_kept_bytes_of_a_gated_layer_follow_tensor_by_tensor(tmp_path: Path) -> None:
    found = decoder(tmp_path, LLAMA | {"num_hidden_layers": 1})
    h, f, narrow = 8192, 28672, 8 * 128
    kept = (
        2 * h + h + h + 2 * narrow + h + h + 3 * f
    )  # norms, their two results, queries, keys and values, result, block
    assert found.activation == 2 * SEQ * kept + 4 * SEQ * 64 + 2 * 4 * SEQ
    assert found.held_for_weight == 2 * SEQ * (3 * h + f)


def test_experts_keep_what_is_routed_to_them(tmp_path: Path) -> None:
    found = decoder(tmp_path, MIXTRAL | {"num_hidden_layers": 1})
    assert found.routed == 2 * SEQ * 2 * 4096
    assert found.experts == 8 * 3 * 4096 * 14336
    plain = decoder(tmp_path, MIXTRAL | {"num_hidden_layers": 1, "num_experts_per_tok": 1})
    more = 2 * SEQ * (2 * 4096 + 3 * 14336)  # for one more expert: what it takes and makes, and three inside
    assert found.activation - plain.activation == pytest.approx(more, rel=0.01)


LLAMA4 = {
    "model_type": "llama4_text",
    "hidden_size": 512,
    "intermediate_size": 1024,
    "intermediate_size_mlp": 2048,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 500,
    "num_local_experts": 8,
    "num_experts_per_tok": 1,
    "interleave_moe_layer_step": 1,
    "attention_chunk_size": 512,
    "no_rope_layers": [1, 1, 1, 0],
}


def test_experts_that_are_not_chosen_do_not_count_where_a_library_runs_them(tmp_path: Path) -> None:
    rows = counted(tmp_path, LLAMA4).rows[1:-1]
    assert [(row.name, row.count) for row in rows] == [("decoder-local", 3), ("decoder-global", 1)]
    h, each = 512, 3 * 512 * 1024
    attention = 2 * h * 512 + 2 * h * 128
    met = attention + 8 * h + 2 * each  # a router, a shared expert and the chosen one
    for row, scores in zip(rows, (512, SEQ), strict=True):  # those of a token's chunk, or of all tokens
        matrices, attended = 2 * met * SEQ, 8 * 128 * scores * SEQ
        assert row.cost.experts == 8 * each
        assert (row.cost.forward, row.cost.backward_weight) == (matrices + attended, matrices)
        assert row.cost.backward_input == matrices + 2 * attended
    kept = rows[1].cost.activation / (2 * SEQ)
    of_experts = 3 * 1024 + 3 * h  # gate, up and their product; what is routed, weighed and made
    assert kept == pytest.approx(7 * h + 2 * 128 + 3 * 1024 + of_experts, rel=0.2)


def test_gradients_of_convolutions_in_groups_count_as_much_as_their_forward(tmp_path: Path) -> None:
    linear = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 64}
    sizes = {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 500}
    config = {"model_type": "qwen3_next", "num_hidden_layers": 4, "num_experts": 8, "num_experts_per_tok": 2, **sizes}
    rows = counted(tmp_path, config | linear | {"linear_value_head_dim": 64}, seq=256).rows[1:-1]
    assert [(row.name, row.count) for row in rows] == [("decoder-linear", 3), ("decoder-full", 1)]
    assert rows[0].cost.backward_weight < rows[0].cost.forward


def test_numbers_of_32_bits_are_twice_as_large(tmp_path: Path) -> None:
    config = MIXTRAL | {"num_hidden_layers": 1}
    narrow, wide = (decoder(tmp_path, config, dtype=each) for each in ("bf16", "fp32"))
    assert (wide.forward, wide.parameters) == (narrow.forward, narrow.parameters)
    assert wide.held_for_weight == pytest.approx(2 * narrow.held_for_weight, rel=1e-3)
    assert wide.activation == pytest.approx(2 * narrow.activation, rel=1e-2)
    assert (wide.passed, wide.routed) == (2 * narrow.passed, 2 * narrow.routed)
