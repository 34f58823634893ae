"""Small beats large (Ouyang et al. 2022, figure 1): the smallest aligned model that beats a larger unaligned one.

    python -m bench.small_beats_large --workspace workspace [--small 32x2 48x2 64x2] [--large 576x9]

Raises models of other shapes (width x layers) on the text, demonstrations and reward model of a circle's workspace:
small ones up to PPO, large ones as base models alone, each on as many tokens as the circle's own. Everything is made in
a copy, --keep, from which a bench that was stopped goes on.

Then every aligned model meets every base model of at least ten times its parameters, blind, on the circle's held-out
questions. The base model, which knows no chat, is prompted with three solved examples from the training documents, as
GPT-3 was; its answer is the line that it goes on with. The circle's independent judge, which no model was trained on,
prefers one of the two answers. Intervals (95 %) draw whole documents.
"""

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.copies import copy_workspace
from homeroom import recipe
from homeroom.cli.common import run_stage
from homeroom.data.documents import read_documents
from homeroom.evaluation.answers import Answer, answerable, generate_answers
from homeroom.evaluation.comparison import Interval, win_rate
from homeroom.evaluation.judging import judge_scores
from homeroom.evaluation.suite import Suite
from homeroom.inference.engine import Engine
from homeroom.inference.request import Request
from homeroom.models.checkpoint import load_model
from homeroom.models.gpt import GPT
from homeroom.report.learning import FOLDER
from homeroom.settings import Json
from homeroom.stages.lookup import made_from
from homeroom.stages.measuring import suite_of
from homeroom.tasks.base import Question
from homeroom.tasks.questions import questions
from homeroom.tasks.split import share
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Artifact, Workspace

TIMES, SHOTS, SHOWN = 10, 3, 4


@dataclass(frozen=True)
class Contestant:
    name: str
    parameters: int
    answers: Mapping[str, Answer]
    scores: Mapping[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--small", nargs="*", default=["32x2", "48x2", "64x2"], help="width x layers of aligned models")
    parser.add_argument("--large", nargs="*", default=["576x9"], help="and of base models")
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--keep", type=Path, help="default: small-beats-large in that workspace")
    given = parser.parse_args()
    if not (given.workspace / "homeroom.sqlite").exists():
        raise SystemExit(f"{given.workspace} is no workspace: raise a model there with `make demo SERVE=0` first")
    keep = given.keep or given.workspace / "small-beats-large"
    keep.mkdir(parents=True, exist_ok=True)
    with Workspace.open(given.workspace) as workspace:
        suite = suite_of(workspace.latest("evaluate"), workspace)
        aligned, bases = [workspace.latest("ppo")], [workspace.latest("pretrain")]
        cleaned = made_from(workspace, bases[0], "clean")
        solved = questions(read_documents(cleaned.path / "documents.parquet", split="train"))
    for shape in given.small:
        aligned.append(raised(given.workspace, keep, shape, aligned=True))
    for shape in given.large:
        bases.append(raised(given.workspace, keep, shape, aligned=False))
    asked = answerable(suite.questions, suite.judge.config.max_length, suite.tokenizer, suite.sampling.max_tokens)[
        : given.questions
    ]
    small = [contestant(one, suite, asked) for one in aligned]
    large = [contestant(one, suite, asked, solved) for one in bases]
    met = [
        (contest(ours, base, asked), ours, base)
        for ours in sorted(small, key=lambda one: one.parameters)
        for base in large
        if base.parameters >= TIMES * ours.parameters
    ]
    found: list[Json] = [
        {
            "aligned": ours.name, "base": base.name, "parameters": [ours.parameters, base.parameters],
            "times": base.parameters / ours.parameters, "win_rate": won.figures(),
        }
        for won, ours, base in met
    ]  # fmt: skip
    smallest = next((one for one, (won, *_) in zip(found, met, strict=True) if won.mean >= 0.5), None)
    print(json.dumps({"contests": found, "smallest": smallest}, ensure_ascii=False))


def raised(circle: Path, keep: Path, shape: str, *, aligned: bool) -> Artifact:
    """A model of this shape, in a copy of the circle; made once."""
    folder = keep / shape
    if not folder.exists():
        copy_workspace(circle, folder, keep.name, FOLDER, "work")
    width, layers = map(int, shape.split("x"))
    # The dial's shape had its own heads, and its own limit of time.
    sets = [f"pretrain.width={width}", f"pretrain.depth={layers}", f"pretrain.heads={max(1, width // 64)}"]
    sets += ["pretrain.tied=true"] if aligned else []
    recipes = recipe.load(circle / recipe.STORED, [*sets, "pretrain.minutes=60"])
    with Workspace.open(folder) as workspace:
        stages = ("pretrain", "sft", "ppo") if aligned else ("pretrain",)
        for stage in stages:
            run_stage(stage, recipes, workspace)
        return workspace.latest(stages[-1])


def contestant(
    artifact: Artifact, suite: Suite, asked: Sequence[Question], solved: Sequence[Question] = ()
) -> Contestant:
    """Its answers; with `solved` questions it is a base model, which is shown some of them."""
    model, tokenizer = load_model(artifact.path), Tokenizer.load(artifact.path)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if solved:
        answers = prompted(model, tokenizer, asked, solved, suite)
    else:
        answers = generate_answers(model, tokenizer, asked, suite.sampling, suite.seed)
    scores = judge_scores(asked, answers, suite.judge, suite.tokenizer)
    names = [one.id for one in asked]
    return Contestant(
        f"{artifact.stage} {parameters / 1e6:.2f}M",
        parameters,
        dict(zip(names, answers, strict=True)),
        dict(zip(names, scores, strict=True)),
    )


def prompted(
    model: GPT, tokenizer: Tokenizer, asked: Sequence[Question], solved: Sequence[Question], suite: Suite
) -> list[Answer]:
    """What a base model goes on with after solved examples of the same kind and language."""
    alike: dict[tuple[str, str], list[Question]] = defaultdict(list)
    for one in solved:
        alike[one.kind, one.language].append(one)
    requests, room = [], model.config.max_length - suite.sampling.max_tokens
    for one in asked:
        shots = random.Random(one.id).sample(alike[one.kind, one.language] or list(solved), SHOTS)
        while True:
            text = "".join(f"{other.prompt}\n{' '.join(other.reference.split())}\n\n" for other in shots)
            ids = [tokenizer.document_id, *tokenizer.encode(f"{text}{one.prompt}\n")]
            if len(ids) <= room or not shots:
                break
            shots = shots[1:]
        seed = int(2**50 * share(one.id, "small beats large"))
        requests.append(Request(one.id, ids[-room:], suite.sampling.model_copy(update={"seed": seed})))
    answers = []
    for one, done in zip(asked, Engine(model, end_id=tokenizer.end_ids).generate(requests), strict=True):
        said = tokenizer.decode(done.token_ids).strip()
        text, ended = said.partition("\n")[0].strip(), "\n" in said or done.finish_reason == "stop"
        # The judge reads it as a chat model would have said it: where the line ends, the answer does.
        answers.append(Answer(one.id, text, (), ended))
    return answers


def contest(ours: Contestant, base: Contestant, asked: Sequence[Question]) -> Interval:
    groups = [one.document_id for one in asked]
    won = win_rate([ours.scores[one.id] for one in asked], [base.scores[one.id] for one in asked], 0, groups)
    times = base.parameters / ours.parameters
    print(f"{ours.name} against {base.name} ({times:.1f} × its size): wins {won}", flush=True)
    for one in asked[:SHOWN]:
        print(f"    {one.prompt}")
        for name, told in (("aligned", ours), ("larger", base)):
            print(f"      {name}: {told.answers[one.id].text!r}")
    return won


if __name__ == "__main__":
    main()
