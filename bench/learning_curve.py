"""How many votes it takes: scripted raters with a hidden rule teach a model through the HTTP API, and it is measured.

    python -m bench.learning_curve [--quick] [--rules brief question language] [--methods sft dpo] [--votes 200 400]
    python -m bench.learning_curve --from workspace --methods dpo kto sft ppo --votes 25 50 100 200 400 --seeds 3
    python -m bench.learning_curve --from workspace --brigade 0.3 --seeds 3
    python -m bench.learning_curve --from workspace --inverted --seeds 3

The raters, their rules and what they ask are in `bench.rules`: one answer to each question, a tenth of the votes is
noise. After so many votes each method makes one round of `homeroom improve` from the same champion, of few lessons and
questions too, where the recipe would wait for more. `win_rate` is over that champion on 100 questions about other
things, by the rule itself: an answer that keeps it beats one that does not, others are ties. Votes, rounds and figures
are kept in --keep, so that a bench that was stopped goes on.

With --brigade that share of the votes comes from five accounts which say the opposite of the rule about the same
answers; with --inverted the lessons are turned upside down, and must be refused. `worse` counts the rounds whose model
was promoted though it keeps the rule less often than the champion did, beyond the interval.

`rules_passed` counts the rules that at least two methods teach to 70 % at the largest number of votes that was tried of
each, with bits per byte within 2 %; `round_minutes_200` is the longest round at 200 votes, until what it made could be
served.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from bench.copies import copy_workspace
from bench.rules import RULES, Asked, Rule, from_documents, judge, questions
from homeroom.data.documents import Document, read_documents
from homeroom.evaluation.comparison import proportion_interval, win_rate
from homeroom.evaluation.gate import Bar
from homeroom.inference.engine import Engine
from homeroom.inference.request import Request, Sampling
from homeroom.models.compiled import decodable
from homeroom.models.int8 import Int8Weights
from homeroom.progress import progress
from homeroom.report.learning import FOLDER, ROUNDS
from homeroom.serving.app import serving
from homeroom.serving.client import Client
from homeroom.serving.settings import ServingSettings
from homeroom.settings import NothingToLearn
from homeroom.stages import checkpoints, compress, harvest, imported, teach
from homeroom.stages.adapting import RewardSettings
from homeroom.stages.ppo import NotQualified
from homeroom.stages.vote import stored
from homeroom.text.chat_template import prompt_ids
from homeroom.text.tokenizer import Tokenizer
from homeroom.training.teaching import Method
from homeroom.workspace import Artifact, Workspace

RATERS, BRIGADE, HELD_OUT, SLOTS = 10, 5, 100, 16
TEMPERATURE, MAX_TOKENS = 0.7, 100
MUST_WIN, MAY_COST = 0.7, 1.02
# The recipe begins no round with fewer than 30 lessons, or 40 questions to decide by; the curve shows what one would
# have come to.
FEWEST: dict[str, Any] = {"minimum_lessons": 3, "judge": RewardSettings(minimum_pairs=1), "gate": Bar(questions=1)}


@dataclass(frozen=True)
class Answered:
    asked: Asked
    text: str
    kept: bool


@dataclass(frozen=True)
class Bench:
    keep: Path
    rule: Rule
    seed: int
    noise: float
    demo: Path | None
    """A workspace of the circle whose champion is taught: it is asked about its own documents."""
    brigade: float = 0.0
    inverted: bool = False

    def folder(self, count: int) -> Path:
        """A workspace in which so many voted."""
        return self.keep / f"{self.rule.name}-{self.seed}{self._poison}-{count}"

    def begun(self, count: int) -> Path:
        """That workspace; a new one goes on from where fewest votes are missing."""
        folder = self.folder(count)
        if not folder.exists():
            numbers = (path.name.rpartition("-")[2] for path in self.keep.iterdir())
            earlier = [int(number) for number in numbers if number.isdecimal() and self.folder(int(number)).exists()]
            fewer = max((number for number in earlier if number < count), default=0)
            copy_workspace(self.folder(fewer) if fewer else self.keep / "start", folder)
        return folder

    @property
    def rounds(self) -> Path:
        """What was measured. What is no plain lesson stands apart: it belongs into no curve."""
        return self.keep / f"{Path(ROUNDS).stem}{self._poison}{'-inverted' if self.inverted else ''}.jsonl"

    @property
    def _poison(self) -> str:
        return f"-brigade-{self.brigade:g}" if self.brigade else ""

    def ballots(self, count: int) -> list["Ballot"]:
        """So many: the honest ones first, each about another question; then a brigade's, all in one burst."""
        burst = round(count * self.brigade)
        name = f"{self.rule.name}-{self.seed}"
        honest = [Ballot(n, f"rater-{n % RATERS}", f"{name}-{n}", self.noise) for n in range(count - burst)]
        others = [divmod(n, BRIGADE) for n in range(burst)]
        return honest + [Ballot(n, f"brigade-{who}", f"{name}-{n}-{who}", 1.0) for n, who in others]

    def questions(self, count: int, *, held_out: bool) -> list[Asked]:
        if self.demo is None:
            return questions(self.rule, count, held_out=held_out, seed=self.seed)
        return from_documents(_documents(self.demo), self.rule, count, held_out=held_out, seed=self.seed)


@dataclass(frozen=True)
class Ballot:
    """A vote that is to be cast: about which question, by whom, how likely the opposite of what the rule says."""

    question: int
    user: str
    name: str
    noise: float


@cache
def _documents(demo: Path) -> list[Document]:
    with Workspace.open(demo) as workspace:
        return list(read_documents(workspace.latest("clean").path / "documents.parquet", split="train"))


def started(folder: Path, source: str) -> None:
    """A workspace whose champion is this model."""
    if folder.exists():
        return
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        with Workspace.open(Path(scratch) / "w") as workspace:
            model = imported.run(source, workspace)
            compress.run(compress.Config(text_megabytes=0.002), workspace, model)
            workspace.registry.promote(model.id, {"reasons": ["a bench teaches it"]})
        (Path(scratch) / "w").rename(folder)


@contextmanager
def copied(folder: Path) -> Iterator[Workspace]:
    """For one round, with the same champion and the same votes. Weights are not written to, so that they are shared."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        copy = Path(scratch) / "w"
        copy_workspace(folder, copy)
        with Workspace.open(copy) as workspace:
            yield workspace


def vote(bench: Bench, workspace: Workspace, count: int) -> None:
    """So many votes through HTTP, the raters taking turns. What was asked and voted before counts once."""
    champion = workspace.champion()
    assert champion is not None
    asked, ballots = bench.questions(count, held_out=False), bench.ballots(count)
    settings = ServingSettings(port=0, slots=SLOTS, require_key=False)
    with serving(workspace, settings) as url:

        def one(ballot: Ballot) -> None:
            client, question = Client(url, champion.id, ballot.user), asked[ballot.question]
            said = stored(workspace, ballot.name).get(ballot.question)
            if said is None:
                said, *_ = client.ask(
                    question.prompt,
                    ballot.name,
                    temperature=TEMPERATURE,
                    max_tokens=MAX_TOKENS,
                    seed=ballot.question,
                )
            draw = random.Random(ballot.name)
            judged = judge(bench.rule, question, said.text, said.ended, noise=ballot.noise, draw=draw)
            client.vote([(said.message_id, judged.value, f"v-{ballot.name}")])
            if judged.better is not None and judged.better != said.text.strip():
                client.edit(said.message_id, judged.better, f"e-{ballot.name}")

        with ThreadPoolExecutor(SLOTS) as pool, progress(f"votes ({bench.rule.name})", count) as bar:
            for _ in pool.map(one, ballots):
                bar.advance()


def answers(bench: Bench, model: Artifact) -> list[Answered]:
    """What the model says to the held-out questions, as it is served."""
    tokenizer, asked = Tokenizer.load(model.path), bench.questions(HELD_OUT, held_out=True)
    engine = Engine(decodable(Int8Weights.of(checkpoints.load(model))), end_id=tokenizer.end_ids, slots=SLOTS)
    requests = [
        Request(
            str(number),
            prompt_ids(one.prompt, tokenizer),
            Sampling(temperature=TEMPERATURE, max_tokens=MAX_TOKENS, seed=number),
        )
        for number, one in enumerate(asked)
    ]
    made = []
    for one, done in zip(asked, engine.generate(requests), strict=True):
        text = tokenizer.decode(done.token_ids)
        made.append(Answered(one, text, bench.rule.kept(one, text, done.finish_reason == "stop")))
    return made


def learn(bench: Bench, method: Method, votes: int, before: Sequence[Answered]) -> dict[str, Any]:
    """One round in a copy of the workspace in which so many voted."""
    told: dict[str, Any] = {"rule": bench.rule.name, "seed": bench.seed, "votes": votes, "method": method}
    told |= {"brigade": bench.brigade, "inverted": bench.inverted}
    with copied(bench.folder(votes)) as workspace:
        begun = time.perf_counter()
        reaped = harvest.run(harvest.Config(), workspace)
        try:
            taught = teach.run(
                teach.Config(method=method, seed=bench.seed, inverted=bench.inverted, **FEWEST), workspace
            )
        except (NothingToLearn, NotQualified) as reason:
            return told | {"nothing_learned": str(reason)}
        minutes = (time.perf_counter() - begun) / 60
        after = answers(bench, taught)
        metrics: dict[str, Any] = taught.metrics
    wins = win_rate([one.kept for one in after], [one.kept for one in before], bench.seed)
    return told | {
        "win_rate": wins.figures(),
        "keeps": proportion_interval(sum(one.kept for one in after), len(after)).figures(),
        "kept_before": sum(one.kept for one in before) / len(before),
        "bits_per_byte_ratio": metrics["bits_per_byte"] / metrics["bits_per_byte_before"],
        "minutes": minutes,
        "lessons": metrics["lessons"],
        "promoted": metrics["promoted"],
        "accepted": metrics["accepted"],
        "trust": {name: reaped.metrics[name] for name in ("people_set_aside", "set_aside", "brigades")},
        "reasons": metrics["reasons"],
        "samples": [[one.asked.prompt, one.text] for one in after[:4]],
    }


def curve(bench: Bench, votes: Sequence[int], methods: Sequence[Method], done: list[dict[str, Any]]) -> None:
    """Every round of one rule and seed that is not done yet; each is written down when it is."""
    before: list[Answered] | None = None
    for count in sorted(votes):
        with Workspace.open(bench.begun(count)) as workspace:
            champion = workspace.champion()
            assert champion is not None
            vote(bench, workspace, count)
        for method in methods:
            wanted = (bench.rule.name, bench.seed, count, method)
            if any((one["rule"], one["seed"], one["votes"], one["method"]) == wanted for one in done):
                continue
            before = before or answers(bench, champion)
            done.append(learn(bench, method, count, before))
            with bench.rounds.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[-1], ensure_ascii=False) + "\n")
            print(line(done[-1]), flush=True)


def line(told: dict[str, Any]) -> str:
    where = f"{told['rule']:9} seed {told['seed']}  {told['votes']:4} votes  {told['method']:4}"
    if "win_rate" not in told:
        return f"{where}  {told['nothing_learned']}"
    wins, keeps = told["win_rate"], told["keeps"]
    return (
        f"{where}  wins {wins['mean']:.1%} [{wins['low']:.1%}, {wins['high']:.1%}]  "
        f"keeps the rule {told['kept_before']:.0%} → {keeps['mean']:.0%}  "
        f"bits per byte × {told['bits_per_byte_ratio']:.3f}  {told['minutes']:.1f} min  "
        f"{'promoted' if told['promoted'] else 'accepted' if told.get('accepted') else 'refused'}"
    )


def summary(rounds: Sequence[dict[str, Any]], votes: Sequence[int]) -> dict[str, Any]:
    made = [one for one in rounds if "win_rate" in one]

    def passes(rule: str, method: str) -> bool:
        tried = [one for one in rounds if (one["rule"], one["method"]) == (rule, method) and one["votes"] <= max(votes)]
        of = [one for one in tried if one["votes"] == max(other["votes"] for other in tried)]
        if not of or any("win_rate" not in one for one in of):
            return False
        won = sum(one["win_rate"]["mean"] for one in of) / len(of)
        return won >= MUST_WIN and all(one["bits_per_byte_ratio"] <= MAY_COST for one in of)

    rules, methods = ({one[key] for one in made} for key in ("rule", "method"))
    at_200 = [one["minutes"] for one in made if one["votes"] == 200]
    return {
        "rules_passed": sum(sum(passes(rule, method) for method in methods) >= 2 for rule in rules),
        "passed": {rule: sorted(method for method in methods if passes(rule, method)) for rule in sorted(rules)},
        "bits_per_byte_ratio_max": round(max(one["bits_per_byte_ratio"] for one in made), 4) if made else None,
        "round_minutes_200": round(max(at_200), 2) if at_200 else None,
        "rounds": len(made),
        "promoted": sum(one["promoted"] for one in made),
        "accepted": sum(one.get("accepted", one["promoted"]) for one in made),
        "worse": sum(one["promoted"] and one["win_rate"]["high"] < 0.5 for one in made),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2", help="what `homeroom import` takes")
    parser.add_argument("--from", dest="demo", type=Path, help="a workspace of the circle: its champion instead")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--methods", nargs="+", choices=get_args(Method), default=["sft", "dpo"])
    parser.add_argument("--votes", nargs="+", type=int, default=[200, 400])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--brigade", type=float, default=0.0, help="share of votes that are a brigade's, such as 0.3")
    parser.add_argument("--inverted", action="store_true", help="a control: learn the opposite of every vote")
    parser.add_argument(
        "--keep", type=Path, help=f"where it goes on from; default: {FOLDER}, with --from in that workspace"
    )
    parser.add_argument("--quick", action="store_true", help="one rule, 100 votes")
    given = parser.parse_args()
    if given.quick:
        given.rules, given.votes = given.rules[:1], [100]
    given.keep = given.keep or (given.demo or Path()) / FOLDER
    given.keep.mkdir(parents=True, exist_ok=True)
    source = given.model
    if given.demo is not None:
        with Workspace.open(given.demo) as demo:
            champion = demo.champion()
            assert champion is not None
            source = str(champion.path)
    started(given.keep / "start", source)
    benches = [
        Bench(given.keep, RULES[rule], seed, given.noise, given.demo, given.brigade, given.inverted)
        for seed in range(given.seeds)
        for rule in given.rules
    ]
    results = benches[0].rounds
    rounds = [json.loads(row) for row in results.read_text().splitlines()] if results.exists() else []
    for one in rounds:
        print(line(one))
    for bench in benches:
        curve(bench, given.votes, given.methods, rounds)
    print(json.dumps(summary(rounds, given.votes)))


if __name__ == "__main__":
    main()
