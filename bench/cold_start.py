"""Cold start: how long a fresh process takes until a nano model's first token, and what the command line takes.

    python -m bench.cold_start [--rounds 5]

`first_token_s` is from starting Python to the first token: importing the engine, loading a model of the size dial's
nano shape from a folder, reading a prompt of 16 tokens. `import_s` and the others are its parts, `help_s` is
`homeroom --help`. Medians of processes that run one after another. Files stay in the kernel's page cache, which only
root may empty: the first start after a boot also waits for the disk.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from bench.interleaved import in_own_process, median
from homeroom.planner import SIZES, dial, shape_of


def save_nano(folder: Path) -> None:
    """Random weights: what they are costs no time."""
    from homeroom.models.checkpoint import save_model
    from homeroom.models.gpt import GPT, Config

    chosen = {choice.name: choice.value for choice in dial(SIZES["nano"], {})}
    save_model(GPT(Config(**asdict(shape_of(chosen, {})))), folder)


def first_token(folder: Path) -> None:
    """In this process and nothing else."""
    begun = time.perf_counter()
    from homeroom.inference.engine import Engine
    from homeroom.inference.request import Request, Sampling
    from homeroom.models.checkpoint import load_model

    imported = time.perf_counter()
    model = load_model(folder)
    loaded = time.perf_counter()
    (answer,) = Engine(model, end_id=()).generate([Request("first", list(range(16)), Sampling(max_tokens=1))])
    assert len(answer.token_ids) == 1
    said = time.perf_counter()
    print(json.dumps({"import_s": imported - begun, "load_s": loaded - imported, "token_s": said - loaded}))


def start(folder: Path) -> dict[str, float]:
    begun = time.perf_counter()
    parts = in_own_process("bench.cold_start", "--first-token", str(folder))
    # Its end is counted too, some hundredths of a second: what is told is never too little.
    whole = time.perf_counter() - begun
    begun = time.perf_counter()
    line = "from homeroom.cli import main; main()"
    subprocess.run([sys.executable, "-c", line, "--help"], capture_output=True, check=True)
    return {"first_token_s": whole, **parts, "help_s": time.perf_counter() - begun}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--first-token", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.first_token:
        first_token(given.first_token)
        return
    with tempfile.TemporaryDirectory() as scratch:
        save_nano(Path(scratch))
        found = []
        for number in range(given.rounds):
            found.append(start(Path(scratch)))
            told = "  ".join(f"{what} {seconds:.2f}" for what, seconds in found[-1].items())
            print(f"round {number + 1}/{given.rounds}  {told}", flush=True)
    print(json.dumps({what: round(median([one[what] for one in found]), 2) for what in found[0]}))


if __name__ == "__main__":
    main()
