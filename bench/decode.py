"""Decoding SmolLM2-135M-Instruct: our engine on int8 weights against `transformers` generate on the float32 weights.

    python -m bench.decode [--rounds 5] [--model smollm2]

Both read the same prompts and write greedily, so many tokens as asked for, whatever ends. `single_stream_ratio` is at
512 tokens of context, `batch16_ratio` sixteen answers at once at 128, `prefill_ratio` a prompt of 512 tokens; rounds
interleaved, medians. `int8_bits_per_byte_ratio` is on prose of Python's own library, by the same weights in float32.
`memory_ratio` is the resident memory that one stream of 512 tokens adds to an interpreter with torch imported, over the
bytes of the int8 weights: measured in a process of its own.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import torch

from bench.interleaved import in_own_process, median
from homeroom.evaluation.agreement import agreement
from homeroom.evaluation.heldout import library_prose
from homeroom.inference.engine import Engine
from homeroom.inference.request import Request, Sampling
from homeroom.models import open_models
from homeroom.models.checkpoint import load_gguf, save_model
from homeroom.models.compiled import CompiledGPT, decodable
from homeroom.models.gpt import GPT, Config
from homeroom.models.int8 import WEIGHTS, Int8Weights
from homeroom.text.gguf_tokenizer import from_gguf
from homeroom.text.tokenizer import Tokenizer

CONTEXT, BATCH, BATCH_CONTEXT, TOKENS, BATCH_TOKENS = 512, 16, 128, 65, 65
"""Of the tokens written the first belongs to reading the prompt, so that one fewer is counted. What is written takes
about as long as what is read: a short end after a long beginning would be measured by the beginning's noise."""


Write = Callable[[int, int, int], float]  # seconds of so many rows, tokens of context and tokens to write


def ours(model: GPT | CompiledGPT, vocabulary: int) -> Write:
    engine = Engine(model, end_id=(), slots=BATCH)

    def write(rows: int, context: int, tokens: int) -> float:
        prompts = torch.randint(0, vocabulary, (rows, context)).tolist()
        sampling = Sampling(temperature=0.0, max_tokens=tokens)
        begun = time.perf_counter()
        engine.generate([Request(str(i), prompt, sampling) for i, prompt in enumerate(prompts)])
        return time.perf_counter() - begun

    return write


def theirs(folder: Path, vocabulary: int) -> Write:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def write(rows: int, context: int, tokens: int) -> float:
        prompts = torch.randint(0, vocabulary, (rows, context))
        how = {"do_sample": False, "pad_token_id": 0, "attention_mask": torch.ones_like(prompts)}
        begun = time.perf_counter()
        model.generate(prompts, max_new_tokens=tokens, min_new_tokens=tokens, **how)
        return time.perf_counter() - begun

    return write


def rates(write: Write) -> dict[str, float]:
    """Tokens per second of one round."""
    prefill = write(1, CONTEXT, 1)
    single = write(1, CONTEXT, TOKENS) - prefill
    batch = write(BATCH, BATCH_CONTEXT, BATCH_TOKENS) - write(BATCH, BATCH_CONTEXT, 1)
    return {
        "prefill": CONTEXT / prefill,
        "single_stream": (TOKENS - 1) / single,
        "batch16": BATCH * (BATCH_TOKENS - 1) / batch,
    }


def in_turn(contenders: Mapping[str, Write], rounds: int) -> dict[str, dict[str, float]]:
    """The median of each contender's rates, which are printed as they come. A first round is to warm up."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, write in contenders.items():
            made = rates(write)
            if number:
                found[name].append(made)
                told = "  ".join(f"{what} {rate:8.1f}" for what, rate in made.items())
                print(f"round {number}/{rounds}  {name:<13} tokens/s  {told}", flush=True)
    return {name: {what: median([r[what] for r in made]) for what in made[0]} for name, made in found.items()}


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def memory_of(folder: Path) -> None:
    """One stream, in this process and nothing else."""
    before = resident_bytes()
    write = ours(decodable(Int8Weights.load(folder)), vocabulary=256)
    write(1, CONTEXT, TOKENS)
    weights = (folder / WEIGHTS).stat().st_size
    print(json.dumps({"memory_ratio": (resident_bytes() - before) / weights}))


def opened(name: str) -> tuple[GPT, Tokenizer]:
    model, metadata = load_gguf(open_models.find(name))
    return model, from_gguf(metadata)


def tiny() -> tuple[GPT, Tokenizer]:
    tokenizer = Tokenizer.train(["a few words to learn from"] * 4, 300)
    shape = Config(vocab_size=tokenizer.vocab_size, max_length=1024, layers=1, width=64, heads=1, tied=True)
    return GPT(shape), tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="smollm2", help="a .gguf file, or a name that `homeroom import` knows")
    parser.add_argument("--kilobytes", type=int, default=30, help="of text, for bits per byte")
    parser.add_argument("--tiny", action="store_true", help="a small random model, to see that the bench runs")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory_of:
        memory_of(given.memory_of)
        return
    model, tokenizer = tiny() if given.tiny else opened(given.model)
    with tempfile.TemporaryDirectory() as scratch:
        whole, small = Path(scratch) / "float32", Path(scratch) / "int8"
        save_model(model, whole)
        Int8Weights.of(model).save(small)
        compressed = decodable(Int8Weights.load(small))
        contenders = {
            "homeroom": ours(compressed, model.config.vocab_size),
            "transformers": theirs(whole, model.config.vocab_size),
        }
        of = in_turn(contenders, given.rounds)
        texts = [document.text for document in library_prose(given.kilobytes / 1000)]
        cost = agreement(model, compressed, tokenizer, texts)
        memory = in_own_process("bench.decode", "--memory-of", str(small))
    ratios = {f"{what}_ratio": round(of["homeroom"][what] / of["transformers"][what], 2) for what in of["homeroom"]}
    print(
        json.dumps(
            {
                **ratios,
                "int8_bits_per_byte_ratio": round(cost.ratio, 5),
                "same_next_token": round(cost.same, 4),
                "memory_ratio": round(memory["memory_ratio"], 3),
                **{f"{what}_tokens_per_second": round(rate, 1) for what, rate in of["homeroom"].items()},
                **{
                    f"{what}_tokens_per_second_transformers": round(rate, 1)
                    for what, rate in of["transformers"].items()
                },
                "compiled": isinstance(compressed, CompiledGPT),
            }
        )
    )


if __name__ == "__main__":
    main()
