from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppopt import InputError, Pipeline
from strategies.layouts.deepspeed import is_uniform, read_deepspeed_parts, write_deepspeed_parts
from strategies.layouts.megatron import (
    expand,
    group_size_options,
    megatron_options,
    read_megatron_layout,
    recomputation_options,
    write_megatron_layout,
)
from strategies.layouts.reading import cut_by_layout, read_layout
from strategies.layouts.torchtitan import read_torchtitan_parts, write_torchtitan_parts
from strategies.model.cuts import even_cut, resolve_recomputed
from strategies.model.layers import Layers
from tests.strategies.made_models import DECODER, EMBEDDING, HEAD, model

MTP = {"name": "mtp", "forward": 11, "backward": 22, "earliest_stage": -1}


def with_mtp(decoders: int, mtp: int, **pins: Any) -> Layers:
    return Layers.model_validate([EMBEDDING, DECODER | {"count": decoders}, MTP | {"count": mtp} | pins, HEAD])


def unpinned(decoders: int, mtp: int = 0) -> Layers:
    kinds = [EMBEDDING, DECODER | {"count": decoders}, *([MTP | {"count": mtp}] if mtp else []), HEAD]
    return Layers.model_validate([kind | {"earliest_stage": None, "latest_stage": None} for kind in kinds])


def refused(read: Any, *arguments: Any) -> str:
    with pytest.raises(InputError) as raised:
        read(*arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


NVIDIAS = json.loads((Path(__file__).parents[2] / "data" / "nvidia_layouts.json").read_text())


@pytest.mark.parametrize("entry", NVIDIAS, ids=lambda entry: f"{entry['layout'][:12]}-{entry['pp']}x{entry['vpp']}")
def test_nvidias_layouts_hold_what_was_recorded(entry: dict[str, Any]) -> None:
    layers = with_mtp(entry["layers"], entry["mtp"], earliest_stage=None) if entry["mtp"] else model(entry["layers"])
    found = read_layout(entry["layout"], layers, entry["pp"])
    assert list(found) == entry["stages"]
    assert len(found) == entry["pp"] * entry["vpp"]
    assert read_layout(write_megatron_layout(layers, found, entry["pp"]), layers, entry["pp"]) == found


def random_cut(draw: random.Random) -> tuple[Layers, tuple[int, ...], int]:
    devices, chunks, mtp = draw.randint(1, 6), draw.randint(1, 4), draw.choice([0, 0, 1, 2])
    decoders = draw.randint(1, 40)
    stages = devices * chunks
    borders = sorted(draw.randint(0, decoders) for _ in range(stages - 1))
    cut = [b - a for a, b in zip([0, *borders], [*borders, decoders], strict=True)]
    cut[0] += 1
    cut[-1] += 1 + mtp
    return with_mtp(decoders, mtp) if mtp else model(decoders), tuple(cut), devices


def test_what_is_written_for_megatron_is_read_again_on_a_thousand_cuts() -> None:
    draw = random.Random(11)
    for _ in range(1000):
        layers, cut, devices = random_cut(draw)
        text = write_megatron_layout(layers, cut, devices)
        assert read_megatron_layout(text, layers, devices) == cut
        assert len(text) <= sum(cut) + 2 * len(cut)


def test_equal_stages_are_written_as_groups() -> None:
    assert write_megatron_layout(model(80), even_cut(model(80), 40), 8) == "Ett|(tt|)*38ttL"
    assert write_megatron_layout(model(9), (5, 0, 0, 6), 2) == "Et*4|(|)*2t*5L"
    assert write_megatron_layout(with_mtp(12, 2), (1, 3, 3, 9), 2) == "E|(t*3|)*2t*6mmL"


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("Et*2|(t*2|)*34,t*3|(t*2|)*3,tL", ["Ett", *["tt"] * 34, "ttt", *["tt"] * 3, "tL"]),
        ("(tt|)*3m|L", ["tt", "tt", "tt", "m", "L"]),
        ("Et*3|", ["Ettt", ""]),
        ("tt*2", ["ttt"]),
        ("t|*3t", ["t", "", "", "t"]),
        ("E(t|)*0L", ["EL"]),
        ("t*0L", ["L"]),
        ("(|tt)*2,t", ["", "tt", "ttt"]),
        ("", [""]),
        (",,E,,", ["E"]),
        ("(t*)*1(2)*1", ["tt"]),  # two passes over the text, not a grammar of expressions
    ],
)
def test_a_text_is_expanded_as_megatron_does(text: str, stages: list[str]) -> None:
    assert expand(text) == stages


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Et|x|L", "layout: stage 1: 'x' is no layer; allowed are E, t, m, L and |"),
        ("Et | tL", "layout: stage 0: ' ' is no layer; allowed are E, t, m, L and |"),
        ("Et*2*3|L", "layout: stage 0: '*' is left; write (…)*n with n decimal"),
        ("E((t|)*2)*2L", "layout: stage 0: '(' is left; write"),
        ("E()*3L", "layout: stage 0: '(' is left; write"),
        ("Et|(tt", "layout: stage 1: '(' is left; write"),
        ("Et|2tL", "layout: stage 1: '2' is left; write"),
        ("Et*-1L", "layout: stage 0: '*' is left; write"),
        ("Et\n|L", "layout: stage 0: '\\n' is no layer"),
        ("Et*999999999L", "layout: 't*999999999' makes it longer than 1,000,000 characters"),
        ("E" + "(t)*999999" * 3, "layout: '(t)*999999' makes it longer than 1,000,000 characters"),
        ("Et*" + "9" * 5000, "layout: 't*9999"),
    ],
)
def test_what_is_no_layout_is_told_with_its_stage(text: str, message: str) -> None:
    assert refused(expand, text).startswith(message)


WITHOUT_ENDS = (
    "layout: has no E (embedding) and no L (final norm, head and loss); put E at the beginning of the first stage and "
    "put L at the end of the last stage"
)


@pytest.mark.parametrize(
    ("text", "devices", "decoders", "mtp", "message"),
    [
        ("Et|t|tL", 2, 3, 0, "layout: must have 2 stages or a multiple of it, with | between two of them; found 3"),
        ("tt|tt|tt", 2, 6, 0, WITHOUT_ENDS),
        ("tt|ttL", 2, 4, 0, "layout: has no E (embedding); put E at the beginning of the first stage"),
        ("t|EtL", 2, 2, 0, "layout: must begin with E (embedding); found t on stage 0"),
        ("|tEL", 2, 1, 0, "layout: must begin with E (embedding); found t on stage 1"),
        ("|", 2, 1, 0, WITHOUT_ENDS),
        ("Et|Lt", 2, 2, 0, "layout: must end with L (final norm, head and loss); found t on stage 1"),
        ("Et|t", 2, 2, 0, "layout: has no L (final norm, head and loss); put L at the end of the last stage"),
        ("EtE|tL", 2, 2, 0, "layout: must have E (embedding) once; found on stages 0 and 0"),
        ("EtL|tL", 2, 2, 0, "layout: must have L (final norm, head and loss) once; found on stages 0 and 1"),
        ("Et|tL", 2, 3, 0, "layout: must have 3 t (decoder layer), as many as the model; found 2"),
        ("Et|ttmL", 2, 3, 0, "layout: must have 0 m (multi-token prediction), as many as the model; found 1"),
        ("Et|ttmL", 2, 3, 2, "layout: must have 2 m (multi-token prediction), as many as the model; found 1"),
        ("Et|tmtL", 2, 3, 1, "layout: must have no t after the first m (on stage 1); found on stage 1"),
        ("Et|m|t|tL", 2, 3, 1, "layout: must have no t after the first m (on stage 1); found on stage 3"),
        (
            "Et|ttm||L",
            2,
            3,
            1,
            "layout: must have m in the last chunk of a rank, on stages 2 to 3; found on stage 1",
        ),
        ("Ettt|m|mL|", 2, 3, 2, "layout: must have m in the last chunk of a rank, on stages 2 to 3; found on stage 1"),
        ("Ettt||m|mL", 2, 3, 2, "layout: must have all m on one stage; found on stages 2 and 3"),
    ],
)
def test_a_layout_that_megatron_refuses_is_told_with_the_rule(
    text: str, devices: int, decoders: int, mtp: int, message: str
) -> None:
    assert refused(read_megatron_layout, text, unpinned(decoders, mtp), devices) == message


def test_what_megatron_takes_and_the_model_does_not_is_refused_by_its_pins() -> None:
    assert read_megatron_layout("|Et|tL|", unpinned(2), 4) == (0, 2, 2, 0)
    assert refused(read_layout, "|Et|t|tL", model(3), 4) == (
        "layout: layers_per_stage: puts embedding on stage 1; allowed are stage 0"
    )
    assert refused(write_megatron_layout, unpinned(2), (0, 2, 2), 3) == (
        "layers_per_stage: Megatron needs E (embedding) on the first stage; found on stage 1"
    )
    assert refused(write_megatron_layout, unpinned(2), (2, 2, 0), 3) == (
        "layers_per_stage: Megatron needs L (final norm, head and loss) on the last stage; found on stage 1"
    )


def test_mtp_may_stand_alone_in_the_last_chunk() -> None:
    layers = with_mtp(61, 1, earliest_stage=-8)
    found = read_layout("Et*3|(tt|)*29m|L", layers, 8)
    assert found[-3:] == (2, 1, 1)
    assert write_megatron_layout(layers, found, 8) == "Et*3|(tt|)*29m|L"


def test_lists_as_in_megatrons_configuration_are_read() -> None:
    names = [["embedding", "decoder"], ["Decoder", " decoder "], [], ["loss"]]
    assert read_layout(names, model(3), 2) == (2, 2, 0, 1)
    assert read_layout(str(names), model(3), 2) == (2, 2, 0, 1)
    assert refused(read_layout, [["embedding", "encoder"], ["loss"]], model(1), 2) == (
        "layout: stage 0: 'encoder' is no layer; allowed are embedding, decoder, mtp, loss"
    )
    assert refused(read_layout, [["embedding"], "loss"], model(1), 2) == (
        "layout: stage 1: must be a list of layers; found 'loss'"
    )


def test_a_norm_of_its_own_belongs_to_the_head_and_missing_ends_are_understood() -> None:
    norm = {"name": "final_norm", "forward": 1, "backward": 1}
    whole = Layers.model_validate([EMBEDDING, DECODER | {"count": 4}, norm, HEAD])
    assert write_megatron_layout(whole, (3, 4), 2) == "Ett|ttL"
    assert read_layout("Ett|ttL", whole, 2) == (3, 4)
    bare = Layers.model_validate([DECODER | {"count": 4}])
    assert write_megatron_layout(bare, (1, 3), 2) == "Et|t*3L"
    assert read_layout("Et|t*3L", bare, 2) == (1, 3)


def test_a_model_in_another_order_cannot_be_written() -> None:
    layers = Layers.model_validate([DECODER, EMBEDDING | {"latest_stage": None}])
    assert refused(write_megatron_layout, layers, (1, 1), 2) == (
        "layers: Megatron takes E, t, m, L in this order; found embedding (E) after decoder (t); give them a letter"
    )


@pytest.mark.parametrize(
    ("recomputed", "options"),
    [
        ([0, 0, 0], []),
        ([4, 2, 6], ["full", "uniform", "1"]),
        ([1, 1, 1], ["full", "block", "1"]),
        ([3, 2, 3], ["full", "block", "3"]),
        ([2, 1, 0], None),
        ([3, 2, 4], None),
        ([0, 0, 1], None),
    ],
)
def test_recomputation_is_written_where_megatron_knows_it(recomputed: list[int], options: list[str] | None) -> None:
    layers, cut = model(12), (5, 2, 7)
    counts = resolve_recomputed(layers, cut, recomputed)
    if options is None:
        assert refused(recomputation_options, layers, cut, counts) == (
            "recomputed_per_stage: Megatron recomputes the first k decoder layers of every stage with one k, or all "
            f"layers; found {recomputed}"
        )
        return
    assert [text.split()[-1] for text in recomputation_options(layers, cut, counts)] == options


def test_block_recomputation_takes_the_first_layers_and_no_mtp() -> None:
    moe = DECODER | {"name": "moe", "count": 4}
    mtp = MTP | {"recompute": {"activation": 0, "time": 1}}
    layers = Layers.model_validate([EMBEDDING, DECODER | {"count": 2}, moe, mtp, HEAD])
    cut = (4, 5)  # E, 2 dense, 1 moe | 3 moe, mtp, L

    def options(*given: Any) -> list[str]:
        return [text.split()[-1] for text in recomputation_options(layers, cut, resolve_recomputed(layers, cut, given))]

    assert options({"decoder": 1}, {"moe": 1}) == ["full", "block", "1"]
    assert options({"decoder": 2, "moe": 1}, {"moe": 3}) == ["full", "block", "3"]
    assert options({"decoder": 2, "moe": 1}, {"moe": 3, "mtp": 1}) == ["full", "uniform", "1"]
    with pytest.raises(InputError):
        options({"moe": 1}, {"moe": 1})
    with pytest.raises(InputError):
        options({"decoder": 1}, {"moe": 1, "mtp": 1})


def test_the_options_that_belong_to_a_layout() -> None:
    layers = with_mtp(12, 1)
    recomputed = resolve_recomputed(layers, (4, 3, 3, 5), [2, 2, 2, 2])
    assert megatron_options(layers, (4, 3, 3, 5), 2, recomputed) == [
        "--pipeline-model-parallel-size 2",
        "--pipeline-model-parallel-layout 'Et*3|(t*3|)*2t*3mL'",
        "--num-layers 12",
        "--mtp-num-layers 1",
        "--recompute-granularity full",
        "--recompute-method block",
        "--recompute-num-layers 2",
    ]
    assert "--mtp-num-layers" not in " ".join(megatron_options(model(4), (3, 3), 2))


@pytest.mark.parametrize(
    ("group_size", "stages", "microbatches", "found"),
    [
        (None, 8, 16, []),
        (4, 8, 16, []),
        (None, 4, 2, []),
        (8, 8, 16, ["--microbatch-group-size-per-virtual-pipeline-stage 8"]),
        (5, 8, 14, ["--microbatch-group-size-per-virtual-pipeline-stage 5"]),
        (3, 8, 16, "group_size: Megatron takes 4 (the devices) to 16 (the microbatches); found 3"),
        (17, 8, 16, "group_size: Megatron takes 4 (the devices) to 16 (the microbatches); found 17"),
        (None, 8, 3, "group_size: Megatron takes 4 (the devices) to 3 (the microbatches); found 4"),
        (
            5,
            8,
            17,
            "group_size: Megatron takes no last group of fewer microbatches than devices, 4; 17 in groups of 5 leave 2",
        ),
    ],
)
def test_group_sizes_are_written_as_megatron_takes_them(
    group_size: int | None, stages: int, microbatches: int, found: Any
) -> None:
    if isinstance(found, str):
        assert refused(group_size_options, group_size, 4, stages, microbatches) == found
    else:
        assert group_size_options(group_size, 4, stages, microbatches) == found


def test_torchtitans_lists_are_as_it_documents_them() -> None:
    parts = write_torchtitan_parts(model(4), (2, 2, 2), 3)
    assert parts == [["tok_embeddings", "layers.0"], ["layers.1", "layers.2"], ["layers.3", "norm", "lm_head"]]
    assert read_layout(parts, model(4), 3) == (2, 2, 2)
    assert read_layout(json.dumps(parts), model(4), 3) == (2, 2, 2)
    assert write_torchtitan_parts(model(1), (2, 1), 2, head="output")[-1] == ["norm", "output"]
    vision = [["vision_encoder", *parts[0]], *parts[1:]]
    assert read_layout(vision, model(4), 3) == (2, 2, 2)


@given(st.integers(0, 10**9))
def test_what_is_written_for_torchtitan_and_deepspeed_is_read_again(seed: int) -> None:
    layers, cut, devices = random_cut(random.Random(seed))
    if "m" not in layers.letters:
        parts = write_torchtitan_parts(layers, cut, devices, empty=True)
        assert read_torchtitan_parts(parts, layers, devices) == cut
        assert [name for part in parts for name in part if re.match(r"layers\.", name)] == [
            f"layers.{number}" for number in range(layers.letters.count("t"))
        ]
    if len(cut) == devices:
        boundaries = write_deepspeed_parts(layers, cut, devices)
        assert read_layout(boundaries, layers, devices) == cut
        assert read_layout(str(boundaries), layers, devices) == cut


UNKNOWN = "is not known; allowed are tok_embeddings, layers.0 to layers.3, norm and lm_head"
FOUR = [["tok_embeddings", "layers.0"], ["layers.1", "layers.2"], ["layers.3", "norm", "lm_head"]]


@pytest.mark.parametrize(
    ("parts", "devices", "message"),
    [
        (FOUR, 2, "layout: must have 2 stages or a multiple of it; found 3"),
        ([FOUR[0], "layers.1", FOUR[2]], 3, "layout: stage 1: must be a list of names; found 'layers.1'"),
        ([FOUR[0], ["layers.1", 2], FOUR[2]], 3, "layout: stage 1: must be a list of names; found ['layers.1', 2]"),
        ([FOUR[0], ["layers.1", "layers.1"], FOUR[2]], 3, "layout: layers.1 appears twice, on stages 1 and 1"),
        ([FOUR[0], ["layers.1"], FOUR[2]], 3, "layout: stage 2: must have layers.2 next; found layers.3"),
        ([FOUR[0], FOUR[1], ["layers.3", "norm"]], 3, "layout: lm_head is on no stage; torchtitan would drop it"),
        (
            [FOUR[0], FOUR[1], ["layers.3", "layers.4", "norm", "lm_head"]],
            3,
            "layout: stage 2: 'layers.4' is not there: the model has 4 layers, layers.0 to layers.3",
        ),
        (
            [FOUR[0], FOUR[1], ["layer.3", "norm", "lm_head"]],
            3,
            f"layout: stage 2: 'layer.3' {UNKNOWN}",
        ),
        (
            [FOUR[0], ["vision_encoder"], FOUR[2]],
            3,
            f"layout: stage 1: 'vision_encoder' {UNKNOWN}",
        ),
        ([["layers.0"], *FOUR[1:]], 3, "layout: stage 0: must have tok_embeddings next; found layers.0"),
        ([[], FOUR[0], FOUR[1] + FOUR[2]], 3, "layout: must have tok_embeddings on the first stage; found on stage 1"),
        ([FOUR[0], FOUR[1] + FOUR[2], []], 3, "layout: must have norm on the last stage; found on stage 1"),
        (
            [FOUR[0], [*FOUR[1], "layers.3", "norm"], ["lm_head"]],
            3,
            "layout: must have norm on the last stage; found on stage 1",
        ),
    ],
)
def test_wrong_lists_are_told(parts: Any, devices: int, message: str) -> None:
    assert refused(read_layout, parts, model(4), devices) == message


def test_what_torchtitan_cannot_express_is_told() -> None:
    assert refused(write_torchtitan_parts, model(4), (1, 0, 5), 3) == (
        "layers_per_stage: torchtitan needs layers on every stage; stage 1 is empty"
    )
    assert refused(write_torchtitan_parts, with_mtp(4, 1), (3, 4), 2) == (
        "layers: torchtitan has no name for MTP layers; found mtp"
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([0, 3, 6, 9], "layout: must have 3 numbers, one more than ranks; found 4"),
        ([1, 3, 6], "layout: must begin with 0; found 1"),
        ([0, 7, 6], "layout: stage 1: must not end before it begins at 7; found 6"),
        ([0, 3, 7], "layout: must end with 6, the layers of the model; found 7"),
        ([0, 3.5, 6], "layout: must be whole numbers; found 3.5"),
        ([0, True, 6], "layout: must be whole numbers; found True"),
        ([], "layout: must be Megatron's text, or a list; found []"),
        (17, "layout: must be Megatron's text, or a list; found 17"),
        ("[0, 3", "layout: is not a list as in Python or JSON; found '[0, 3'"),
        ("[" * 5000, "layout: is not a list as in Python or JSON"),
    ],
)
def test_wrong_parts_are_told(parts: Any, message: str) -> None:
    assert refused(read_layout, parts, model(4), 2).startswith(message)


def test_deepspeed_has_one_stage_a_rank() -> None:
    assert write_deepspeed_parts(model(4), (4, 2), 2) == [0, 4, 6]
    assert read_deepspeed_parts([0, 0, 6], model(4), 2) == (0, 6)
    assert refused(write_deepspeed_parts, model(4), (2, 1, 1, 2), 2) == (
        "layers_per_stage: DeepSpeed has one stage per rank, 2; found 4 stages"
    )


def test_a_layout_cuts_a_pipeline() -> None:
    layers = [EMBEDDING, DECODER | {"count": 6}, HEAD]
    pipeline = Pipeline.from_mapping({"devices": 2, "microbatches": 4, "layers": layers})
    made = cut_by_layout(pipeline, "Et|(tt|)*2tL")
    assert made.layers_per_stage == (2, 2, 2, 2)
    assert made == pipeline.with_cut([2, 2, 2, 2])
    assert made.layers is not None
    assert write_megatron_layout(made.layers, made.layers_per_stage, made.devices) == "Et|(tt|)*2tL"
    plain = Pipeline.from_mapping({"devices": 2, "microbatches": 4})
    assert (
        refused(cut_by_layout, plain, "EL") == "layout: needs layers, and this pipeline gives the times of its stages"
    )


def test_uniform_parts_are_recognised() -> None:
    assert is_uniform([0, 3, 5, 7])
    assert is_uniform([0, 1, 2, 2])
    assert not is_uniform([0, 2, 4, 7])
