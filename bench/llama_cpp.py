"""Decoding SmolLM2-135M-Instruct: our engine on int8 weights against llama.cpp on the Q4_1 file that it came in.

    pip install xllamacpp && python -m bench.llama_cpp [--rounds 3] [--model smollm2]

The same three measures as `bench.decode`, by the same arithmetic, rounds interleaved, medians: `single_stream_ratio` at
512 tokens of context, `batch16_ratio` sixteen answers at once at 128, `prefill_ratio` a prompt of 512 tokens. llama.cpp
runs in this process through its own server's queue, without HTTP, with as many threads as torch has.
"""

import argparse
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from bench.decode import BATCH, BATCH_CONTEXT, BATCH_TOKENS, CONTEXT, TOKENS, Write, in_turn, opened, ours
from homeroom.models import open_models
from homeroom.models.compiled import CompiledGPT, decodable
from homeroom.models.int8 import Int8Weights


def llama_cpp(path: Path, vocabulary: int) -> Write:
    import xllamacpp

    def server_of(slots: int, context: int) -> Any:
        params: Any = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_parallel, params.n_ctx = slots, slots * context
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = torch.get_num_threads()
        params.cache_prompt, params.verbosity = False, 0
        return xllamacpp.Server(params)

    # One stream has a server for itself: sixteen slots are no help to it.
    servers = {1: server_of(1, CONTEXT + TOKENS), BATCH: server_of(BATCH, BATCH_CONTEXT + BATCH_TOKENS)}

    def write(rows: int, context: int, tokens: int) -> float:
        prompts = torch.randint(1000, vocabulary, (rows, context)).tolist()
        asked = {"n_predict": tokens, "temperature": 0.0, "ignore_eos": True, "cache_prompt": False}
        with ThreadPoolExecutor(rows) as pool:
            begun = perf_counter()
            made = list(pool.map(lambda prompt: servers[rows].handle_completions({"prompt": prompt, **asked}), prompts))
            seconds = perf_counter() - begun
        for one in made:
            said = one.get("tokens_predicted", one.get("usage", {}).get("completion_tokens"))
            if said != tokens:
                raise RuntimeError(f"llama.cpp wrote {said} tokens, {tokens} were asked for: {str(one)[:300]}")
        return seconds

    return write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="smollm2", help="a .gguf file, or a name that `homeroom import` knows")
    given = parser.parse_args()
    model, _ = opened(given.model)
    compressed, vocabulary = decodable(Int8Weights.of(model)), model.config.vocab_size
    del model
    contenders = {
        "homeroom": ours(compressed, vocabulary),
        "llama.cpp": llama_cpp(open_models.find(given.model), vocabulary),
    }
    of = in_turn(contenders, given.rounds)
    told = {f"{what}_ratio": round(of["homeroom"][what] / of["llama.cpp"][what], 2) for what in of["homeroom"]}
    for name, rates_of in of.items():
        told |= {f"{what}_tokens_per_second_{name.replace('.', '_')}": round(r, 1) for what, r in rates_of.items()}
    print(json.dumps({**told, "compiled": isinstance(compressed, CompiledGPT)}))


if __name__ == "__main__":
    main()
