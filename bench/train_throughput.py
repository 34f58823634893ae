"""Training throughput against transformers' LlamaForCausalLM, and the peak memory of both.

    python -m bench.train_throughput [--rounds 5] [--precision auto|float32|bfloat16]

The peer: eager, SDPA, fused AdamW, float32 as it comes, the same shape and so the same parameters (vocabulary 8192,
width 256, 6 layers, 4 heads), 32 × 256 tokens a step. Ours: the loop's own step, same AdamW, in the number format
that the loop picks on this machine: `ratio`. In the same run, like for like: both in float32 (`ratio_float32`) and the
peer under autocast to our format (`ratio_same_precision`); and what share of this machine's measured float32 peak our
float32 step reaches.
"""

import argparse
import json
from collections.abc import Callable

import torch

from bench.interleaved import in_own_process, median, medians, peak_memory_bytes
from homeroom.data.batches import TokenBatch
from homeroom.models.gpt import GPT, Config
from homeroom.models.precision import Precision, dtype_name, measure_peak, resolve_precision
from homeroom.planner import Shape, flops_per_token
from homeroom.training.loop import LoopSettings, optimize
from homeroom.training.objectives.next_token import NextToken
from homeroom.training.optimizers import Optimizer, OptimizerSettings

VOCABULARY, WIDTH, LAYERS, HEADS, LENGTH = 8192, 256, 6, 4, 256
MICRO_ROWS = 8


def ours(precision: Precision, rows: int) -> Callable[[], None]:
    torch.manual_seed(0)
    model = GPT(Config(vocab_size=VOCABULARY, max_length=LENGTH, layers=LAYERS, width=WIDTH, heads=HEADS))
    settings = LoopSettings(optimizer=OptimizerSettings(kind="adamw", learning_rate=1e-3), gradient_clip=1.0)
    optimizer = Optimizer(model, settings.optimizer)
    dtype = resolve_precision(precision, model)
    ids = torch.randint(0, VOCABULARY, (rows, LENGTH + 1))
    pieces = [(part[:, :-1].contiguous(), part[:, 1:].contiguous()) for part in ids.split(MICRO_ROWS)]
    micro_batches = [TokenBatch(tokens, following, torch.ones_like(tokens).bool()) for tokens, following in pieces]

    def step() -> None:
        optimize(model, NextToken(), micro_batches, optimizer, clip=settings.gradient_clip, dtype=dtype)

    step.parameters = sum(p.numel() for p in model.parameters())  # type: ignore[attr-defined]
    return step


def theirs(rows: int, dtype: torch.dtype = torch.float32) -> Callable[[], None]:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    hidden = Config(vocab_size=VOCABULARY, width=WIDTH).hidden_width
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            intermediate_size=hidden,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            max_position_embeddings=LENGTH,
            tie_word_embeddings=False,
            attn_implementation="sdpa",
            use_cache=False,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    tokens = torch.randint(0, VOCABULARY, (rows, LENGTH))

    def step() -> None:
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            model(input_ids=tokens, labels=tokens).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    step.parameters = sum(p.numel() for p in model.parameters())  # type: ignore[attr-defined]
    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=32, help="of 256 tokens, in a step")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument(
        "--memory-of", choices=["ours", "theirs"], help="only run three steps and print the peak memory"
    )
    given = parser.parse_args()
    if given.memory_of:
        step = ours(given.precision, given.rows) if given.memory_of == "ours" else theirs(given.rows)
        for _ in range(3):
            step()
        print(json.dumps({"peak_memory_bytes": peak_memory_bytes()}))
        return
    dtype = resolve_precision(given.precision, torch.nn.Linear(1, 1))
    contenders = {
        "transformers": theirs(given.rows),
        "homeroom": ours(given.precision, given.rows),
        "homeroom float32": ours("float32", given.rows),
        "transformers, same": theirs(given.rows, dtype),
    }
    assert len({step.parameters for step in contenders.values()}) == 1  # type: ignore[attr-defined]
    times = {name: median(values) for name, values in medians(contenders, rounds=given.rounds).items()}
    same = ("--precision", given.precision, "--rows", str(given.rows))
    memory = {
        who: in_own_process("bench.train_throughput", "--memory-of", who, *same)["peak_memory_bytes"]
        for who in ("ours", "theirs")
    }
    tokens = given.rows * LENGTH
    shape = Shape(layers=LAYERS, width=WIDTH, heads=HEADS, vocab_size=VOCABULARY, max_length=LENGTH)
    float32_rate = tokens / times["homeroom float32"]
    print(
        json.dumps(
            {
                "ratio": round(times["transformers"] / times["homeroom"], 3),
                "memory_ratio": round(memory["ours"] / memory["theirs"], 3),
                "ratio_float32": round(times["transformers"] / times["homeroom float32"], 3),
                "ratio_same_precision": round(times["transformers, same"] / times["homeroom"], 3),
                "share_of_float32_peak": round(flops_per_token(shape) * float32_rate / measure_peak().float32, 3),
                "tokens_per_second": round(tokens / times["homeroom"]),
                "tokens_per_second_float32": round(float32_rate),
                "tokens_per_second_transformers": round(tokens / times["transformers"]),
                "peak_memory_gb": round(memory["ours"] / 1e9, 3),
                "peak_memory_gb_transformers": round(memory["theirs"] / 1e9, 3),
                "precision": dtype_name(dtype),
            }
        )
    )


if __name__ == "__main__":
    main()
