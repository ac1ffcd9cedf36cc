"""Models as their published ``config.json`` describes them, and one layer of each in closed form."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

needs_libraries = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "transformers")),
    reason="torch or transformers is not installed: pip install 'ppopt[model]'",
)

Config = dict[str, Any]

LLAMA: Config = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
QWEN: Config = {
    "model_type": "qwen3",
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": False,
}
GEMMA: Config = {
    "model_type": "gemma",
    "hidden_size": 3072,
    "intermediate_size": 24576,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 256,
    "vocab_size": 256000,
    "max_position_embeddings": 8192,
}
MIXTRAL: Config = {
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "vocab_size": 32000,
    "max_position_embeddings": 32768,
}
QWEN_MOE: Config = {
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": False,
}
DEEPSEEK: Config = {
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "first_k_dense_replace": 3,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "n_group": 8,
    "topk_group": 4,
    "vocab_size": 129280,
    "max_position_embeddings": 163840,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}
GPT2: Config = {
    "model_type": "gpt2",
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_positions": 1024,
    "vocab_size": 50257,
    "activation_function": "gelu_new",
}


class Layer(NamedTuple):
    """One layer in closed form: parameters in all, in matrices, and in those that a token meets; sizes of attention."""

    parameters: int
    met: int
    scores: int
    """Heads times the sizes of a key and of a value: two FLOPs of each for each token that a token looks at."""


def llama(c: Config, *, norms: int = 0) -> Layer:
    """Grouped queries, a gated block, two norms."""
    h, f, heads = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"]
    size = c.get("head_dim", h // heads)
    met = 2 * h * heads * size + 2 * h * c["num_key_value_heads"] * size + 3 * h * f
    return Layer(met + 2 * h + norms, met, heads * 2 * size)


def qwen(c: Config) -> Layer:
    """As Llama, with norms of queries and keys."""
    return llama(c, norms=2 * c["head_dim"])


def experts(c: Config, *, number: int, size: int, norms: int = 0) -> Layer:
    """As Llama, with a router and experts in place of the block."""
    plain = llama(c | {"intermediate_size": 0}, norms=norms)
    h, router, each = c["hidden_size"], number * c["hidden_size"], 3 * c["hidden_size"] * size
    assert h
    return Layer(
        plain.parameters + router + number * each, plain.met + router + c["num_experts_per_tok"] * each, plain.scores
    )


def deepseek(c: Config, *, dense: bool) -> Layer:
    """Latent attention (DeepSeek-AI 2024, section 2.1.1), then a block or experts of which one is shared."""
    h, heads, rope, nope, value = (
        c[key] for key in ("hidden_size", "num_attention_heads", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")
    )
    of_query, of_key = c["q_lora_rank"], c["kv_lora_rank"]
    met = h * of_query + of_query * heads * (nope + rope) + h * (of_key + rope)
    met += of_key * heads * (nope + value) + heads * value * h
    norms = 2 * h + of_query + of_key
    scores = heads * (nope + rope + value)
    if dense:
        met += 3 * h * c["intermediate_size"]
        return Layer(met + norms, met, scores)
    each, router = 3 * h * c["moe_intermediate_size"], c["n_routed_experts"] * h
    met += router + c["n_shared_experts"] * each
    return Layer(met + norms + c["n_routed_experts"] * each, met + c["num_experts_per_tok"] * each, scores)


def gpt2(c: Config) -> Layer:
    """The layer of Radford et al. 2019: 12 h² in matrices, 13 h in biases and norms."""
    h = c["n_embd"]
    return Layer(12 * h * h + 13 * h, 12 * h * h, 2 * h)


def write(folder: Path, config: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return folder
