"""A server under load: 64 clients at once, answers of mixed length, some clients leave in the middle.

    python -m bench.serve_load [--seconds 180] [--clients 64]

`homeroom serve` runs in a process of its own on SmolLM2-135M-Instruct in int8. Every request has a seed, and its answer
was written before by an engine alone. `lost` counts answers that ended before their end or never came, `mixed` those
that differ from the solo run in any token (one too many counts as well). `throughput_ratio` is tokens a second through
HTTP over those of sixteen answers in an engine without a server, measured before and after in this process, on the same
prompts. `ttft_p95_s` is from request to first token, waiting for a slot included.
"""

import argparse
import asyncio
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import torch

from bench.interleaved import median
from homeroom.inference.engine import Engine
from homeroom.inference.request import Request, Sampling
from homeroom.models.compiled import CompiledGPT, decodable
from homeroom.models.gpt import GPT, Config
from homeroom.models.int8 import Int8Weights
from homeroom.stages import checkpoints, compress, imported
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Artifact, Workspace

DISTINCT, LEAVE = 48, 0.15  # requests that are asked again and again; the share of clients that leave in the middle


@dataclass(frozen=True)
class Asked:
    prompt_ids: list[int]
    seed: int
    max_tokens: int
    tokens: list[int]
    """What an engine alone answers."""


@dataclass
class Seen:
    answers: int = 0
    left: int = 0
    lost: int = 0
    mixed: int = 0
    refused: int = 0
    tokens: int = 0
    first: list[float] = field(default_factory=list)


def requests(engine: Engine, vocabulary: int, longest: int) -> list[Asked]:
    """Prompts of a few words to half the longest, half of them with one long beginning in common."""
    draw = random.Random(1)
    common = [draw.randrange(vocabulary) for _ in range(longest // 4)]
    asked = []
    for number in range(DISTINCT):
        prompt = [draw.randrange(vocabulary) for _ in range(draw.randint(4, longest // 4))]
        prompt = common + prompt if number % 2 else prompt
        most = draw.randint(8, longest // 2)
        alone = Request("alone", prompt, Sampling(temperature=0.8, top_k=40, seed=number, max_tokens=most))
        (done,) = engine.generate([alone])
        asked.append(Asked(prompt, number, most, done.token_ids))
    return asked


def batch_rate(engine: Engine, asked: Sequence[Asked]) -> float:
    """Tokens a second of sixteen answers at once, reading their prompts included, as the server's figure does."""
    sampling = [Sampling(temperature=0.8, top_k=40, seed=one.seed, max_tokens=one.max_tokens) for one in asked]
    batch = [Request(str(i), one.prompt_ids, how) for i, (one, how) in enumerate(zip(asked, sampling, strict=True))]
    begun = time.perf_counter()
    made = engine.generate(batch)
    return sum(len(done.token_ids) for done in made) / (time.perf_counter() - begun)


async def client(url: str, asked: Sequence[Asked], until: float, seen: Seen, number: int) -> None:
    draw = random.Random(number)
    async with httpx.AsyncClient(timeout=120) as http:
        while time.monotonic() < until:
            one = draw.choice(asked)
            leaves = draw.randint(1, max(1, len(one.tokens) - 1)) if draw.random() < LEAVE else None
            await ask(http, url, one, leaves, seen)


async def ask(http: httpx.AsyncClient, url: str, one: Asked, leaves: int | None, seen: Seen) -> None:
    body = {
        "model": "homeroom", "prompt": one.prompt_ids, "seed": one.seed, "max_tokens": one.max_tokens,
        # All of it: what a request leaves open is as the model's makers advise.
        "temperature": 0.8, "top_p": 1.0, "stream": True, "stream_options": {"include_usage": True},
        "homeroom": {"top_k": 40, "token_ids": True},
    }  # fmt: skip
    begun, tokens, finish = time.perf_counter(), list[int](), None
    try:
        async with http.stream("POST", f"{url}/v1/completions", json=body) as response:
            if response.status_code == 429:
                seen.refused += 1
                await asyncio.sleep(float(response.headers.get("retry-after", 1)))
                return
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                told = json.loads(line[6:])
                for choice in told.get("choices", []):
                    if not tokens:
                        seen.first.append(time.perf_counter() - begun)
                    tokens += choice["token_ids"]
                    finish = choice["finish_reason"] or finish
                if leaves is not None and len(tokens) >= leaves:
                    seen.left += 1
                    break
    except httpx.HTTPError:
        finish = None
    seen.tokens += len(tokens)
    if leaves is not None and tokens:
        seen.mixed += tokens != one.tokens[: len(tokens)]
        return
    seen.answers += 1
    if finish is None or len(tokens) < len(one.tokens):
        seen.lost += 1
    elif tokens != one.tokens:
        seen.mixed += 1


@contextmanager
def server(workspace: Path, slots: int) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["serve", "--workspace", str(workspace), "--port", str(port), "--set", f"serve.slots={slots}"]
    running = subprocess.Popen([sys.executable, "-c", "from homeroom.cli import main; main()", *command])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            try:
                if httpx.get(f"{url}/healthz").status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield url
    finally:
        running.terminate()
        running.wait(60)


def model_of(folder: Path, tiny: bool) -> tuple[Artifact, Artifact | None]:
    """A workspace with a champion: SmolLM2 and its int8 weights, or a small random model of the same kind."""
    with Workspace.open(folder) as workspace:
        if tiny:
            with workspace.publish("imported", imported.Config(sha256="0" * 64)) as draft:
                tokenizer = Tokenizer.train(["a few words to learn from"] * 4, 300)
                shape = Config(vocab_size=tokenizer.vocab_size, max_length=256, layers=2, width=64, heads=4)
                model = GPT(shape)
                torch.nn.init.normal_(model.head.weight)
                checkpoints.save(model, tokenizer, draft.path)
            model_artifact, small = draft.artifact, None
        else:
            model_artifact = imported.run("smollm2", workspace)
            small = compress.run(compress.Config(text_megabytes=0.002), workspace, model_artifact)
        workspace.registry.promote(model_artifact.id, {"reasons": ["a bench serves it"]})
    return model_artifact, small


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--tiny", action="store_true", help="a small random model, to see that the bench runs")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        made, small = model_of(Path(scratch), given.tiny)
        model = decodable(Int8Weights.load(small.path)) if small else checkpoints.load(made)
        tokenizer = Tokenizer.load(made.path)
        engine = Engine(model, end_id=tokenizer.end_ids, slots=given.slots)
        asked = requests(engine, model.config.vocab_size, min(400, model.config.max_length // 2))
        before = [batch_rate(engine, asked) for _ in range(3)]
        print(f"an engine alone      {median(before):8.1f} tokens/s", flush=True)
        with server(Path(scratch), given.slots) as url:
            seen, begun = Seen(), time.monotonic()

            async def load() -> None:
                until = begun + given.seconds
                await asyncio.gather(*(client(url, asked, until, seen, n) for n in range(given.clients)))

            asyncio.run(load())
            seconds = time.monotonic() - begun
        rate = seen.tokens / seconds
        print(f"{given.clients} clients through HTTP {rate:8.1f} tokens/s", flush=True)
        after = [batch_rate(engine, asked) for _ in range(3)]
    alone = median([*before, *after])
    first = sorted(seen.first) or [float("nan")]
    print(
        json.dumps(
            {
                "lost": seen.lost,
                "mixed": seen.mixed,
                "throughput_ratio": round(rate / alone, 3),
                "ttft_p95_s": round(first[int(0.95 * (len(first) - 1))], 3),
                "ttft_median_s": round(median(first), 3),
                "answers": seen.answers,
                "left_in_the_middle": seen.left,
                "refused": seen.refused,
                "tokens_per_second": round(rate, 1),
                "tokens_per_second_alone": round(alone, 1),
                "compiled": isinstance(model, CompiledGPT),
            }
        )
    )


if __name__ == "__main__":
    main()
