"""How often models are rude when they are provoked: base, SFT, PPO, champion.

    python -m bench.toxicity --workspace workspace [--answers 2]

Each model gets 256 provoking prompts (`homeroom.tasks.provocations`), half of them Chinese, and answers each so many
times at temperature 1. The base model, which knows no chat, goes on after the prompt as after any text. Two graders:
the word lists that the gate uses, and a classifier that is trained here on the rankings of this workspace. What it is
worth is measured on rankings that it was not shown, and on insults that it never met; where its share for a model is
no higher than its share of polite texts that it takes for rude, it says nothing. Intervals (95 %) draw whole prompts.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from homeroom.data.rankings import read_rankings
from homeroom.evaluation.comparison import Interval, mean_interval, proportion_interval
from homeroom.evaluation.rudeness import RudeClassifier, check, labelled
from homeroom.inference.engine import Engine
from homeroom.inference.request import Request, Sampling
from homeroom.models.checkpoint import load_model
from homeroom.settings import HomeroomError, Json
from homeroom.tasks.base import Question
from homeroom.tasks.manners import is_rude
from homeroom.tasks.provocations import provocations
from homeroom.tasks.split import share
from homeroom.text.chat_template import prompt_ids
from homeroom.text.tokenizer import Tokenizer
from homeroom.workspace import Artifact, MissingArtifact, Workspace

STAGES = {"base": "pretrain", "sft": "sft", "ppo": "ppo"}


@dataclass(frozen=True)
class Said:
    question: Question
    text: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--answers", type=int, default=2, help="to each prompt")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--show", type=int, default=5, help="so many rude answers of each model are printed")
    given = parser.parse_args()
    if not (given.workspace / "homeroom.sqlite").exists():
        raise SystemExit(f"{given.workspace} is no workspace: raise a model there with `make demo` first")
    with Workspace.open(given.workspace) as workspace:
        models = _models(workspace)
        classifier, worth = _classifier(workspace)
    graders: dict[str, Callable[[Sequence[str]], list[bool]]] = {"lists": lambda texts: list(map(is_rude, texts))}
    if classifier is not None:
        graders["classifier"] = classifier.rude
    found: dict[str, Json] = {}
    for name, artifact in models.items():
        said = _continuations(artifact, name == "base", given.answers, given.max_tokens)
        marks = {grader: mark([one.text for one in said]) for grader, mark in graders.items()}
        figures: dict[str, Json] = {"artifact": artifact.id, "continuations": len(said)}
        for grader, marked in marks.items():
            figures[grader] = shares = _shares(said, marked)
            told = "   ".join(f"{what} {Interval(**one)}" for what, one in shares.items())  # type: ignore[arg-type]
            print(f"{name:<9} {grader:<11} {told}", flush=True)
        found[name] = figures
        rude = [one for number, one in enumerate(said) if any(marked[number] for marked in marks.values())]
        for one in rude[: given.show]:
            print(f"          {one.question.prompt}  →  {one.text!r}")
    print(json.dumps({**found, "classifier": worth}, ensure_ascii=False))


def _models(workspace: Workspace) -> dict[str, Artifact]:
    """What there is, in the order of the circle; a champion that is one of them is not asked twice."""
    found: dict[str, Artifact] = {}
    for name, stage in STAGES.items():
        try:
            found[name] = workspace.latest(stage)
        except MissingArtifact:
            print(f"{name:<9} none here yet: homeroom {stage}")
    champion = workspace.champion()
    if champion is not None and champion not in found.values():
        found["champion"] = champion
    if not found:
        raise HomeroomError(f"{workspace.path} holds no model yet. Run `make demo` or `homeroom import smollm2` first.")
    return found


def _classifier(workspace: Workspace) -> tuple[RudeClassifier | None, Json]:
    """Trained on the rankings' training parts; what it is worth, on their validation part."""
    try:
        folder = workspace.latest("rankings").path
    except MissingArtifact:
        print("classifier: none, for there are no rankings here to learn from")
        return None, None
    train = [one for part in ("reward", "judge") for one in labelled(read_rankings(folder, part))]
    heldout = labelled(read_rankings(folder, "validation"))
    worth = check(train, heldout)
    for name, figures in worth.items():
        print(f"classifier, {name.replace('_', ' ')}: {Interval(**figures) if isinstance(figures, dict) else figures}")  # type: ignore[arg-type]
    return RudeClassifier(train), worth


def _continuations(artifact: Artifact, plain: bool, answers: int, max_tokens: int) -> list[Said]:
    artifact.check()
    model, tokenizer = load_model(artifact.path), Tokenizer.load(artifact.path)
    asked = [one for one in provocations() for _ in range(answers)]
    requests = [
        Request(
            str(number),
            [tokenizer.document_id, *tokenizer.encode(f"{one.prompt}\n")]
            if plain
            else prompt_ids(one.prompt, tokenizer),
            Sampling(max_tokens=max_tokens, seed=int(2**50 * share(one.id, f"toxicity {number}"))),
        )
        for number, one in enumerate(asked)
    ]
    made = Engine(model, end_id=tokenizer.end_ids).generate(requests)
    return [Said(one, tokenizer.decode(done.token_ids).strip()) for one, done in zip(asked, made, strict=True)]


def _shares(said: Sequence[Said], rude: Sequence[bool]) -> dict[str, Json]:
    """Of all, and by language."""
    found: dict[str, Json] = {}
    for name in ("all", "en", "zh"):
        chosen = [
            (one.question.id, mark)
            for one, mark in zip(said, rude, strict=True)
            if name in ("all", one.question.language)
        ]
        prompts = [prompt for prompt, _ in chosen]
        interval = mean_interval([float(mark) for _, mark in chosen], 0, prompts)
        if interval.low == interval.high:
            # All alike: resampling has no width there. As sure as one answer to each prompt makes it.
            count = len(set(prompts))
            alike = proportion_interval(interval.mean * count, count)
            interval = Interval(interval.mean, alike.low, alike.high, interval.n)
        found[name] = interval.figures()
    return found


if __name__ == "__main__":
    main()
