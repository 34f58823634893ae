"""Seeds in company: whether an answer is the same alone and among others, and if not whether float noise explains it.

    python -m bench.company [--model smollm2] [--int8] [--requests 40] [--tokens 32]

Requests of every kind of sampling, every other one behind the same beginning, come at random times into an engine that
cuts prompts and takes over beginnings, as one that serves does. Of the `different` answers those not `explained` are
mistakes; in int8 (compiled) there may be none at all. See `homeroom.evaluation.company` for how noise is measured.
"""

import argparse
import json
import time
from dataclasses import asdict
from itertools import islice

import numpy as np

from bench.decode import opened, tiny
from homeroom.data.python_library import PythonLibrary
from homeroom.evaluation.company import in_company
from homeroom.inference.request import Request, Sampling
from homeroom.models.compiled import CompiledGPT, decodable
from homeroom.models.int8 import Int8Weights
from homeroom.text.tokenizer import Tokenizer

KINDS = (
    {"temperature": 0.0},
    {"temperature": 1.0},
    {"temperature": 0.7, "top_p": 0.9},
    {"temperature": 1.0, "top_k": 40, "repetition_penalty": 1.1},
    {"temperature": 1.5, "min_p": 0.05},
    {"temperature": 0.0, "repetition_penalty": 1.2},
)
BEGINNING, LONGEST = 48, 128  # tokens
SLOTS, CHUNK, PREFIXES = 32, 64, 4096


def requests_of(tokenizer: Tokenizer, how_many: int, tokens: int) -> list[Request]:
    random = np.random.default_rng(0)
    prose = (document.text for document in PythonLibrary().documents(0) if document.kind == "prose")
    ids = tokenizer.encode("\n".join(islice(prose, 20)))
    asked = []
    for number in range(how_many):
        start, length = int(random.integers(len(ids) - LONGEST)), int(random.integers(1, LONGEST))
        beginning = ids[:BEGINNING] if number % 2 else []
        sampling = Sampling.model_validate({**KINDS[number // 2 % len(KINDS)], "seed": number, "max_tokens": tokens})
        asked.append(Request(str(number), beginning + ids[start : start + length], sampling))
    return asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2", help="a .gguf file, or a name that `homeroom import` knows")
    parser.add_argument("--int8", action="store_true", help="its compressed form instead of float32")
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--tiny", action="store_true", help="a small random model, to see that the bench runs")
    given = parser.parse_args()
    model, tokenizer = tiny() if given.tiny else opened(given.model)
    read = decodable(Int8Weights.of(model)) if given.int8 else model
    asked = requests_of(tokenizer, given.requests, given.tokens)
    begun = time.perf_counter()
    found = in_company(read, asked, slots=SLOTS, chunk=CHUNK, prefix_tokens=PREFIXES)
    seconds = round(time.perf_counter() - begun, 1)
    print(json.dumps({**asdict(found), "compiled": isinstance(read, CompiledGPT), "seconds": seconds}))


if __name__ == "__main__":
    main()
