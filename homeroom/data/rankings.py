"""Rankings in their file, and as the rows of token ids that a reward model reads.

How one is built is `homeroom.tasks.rankings`', what is learned from it the objective's.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from homeroom.data.batches import RankingBatch
from homeroom.models.padding import Packing
from homeroom.tasks.base import Question
from homeroom.tasks.rankings import RankedAnswer, Ranking
from homeroom.text.chat_template import prompt_ids, with_answer
from homeroom.text.tokenizer import Tokenizer

Part = Literal["reward", "judge", "validation"]
FILE = "rankings.jsonl"


def save_rankings(rankings: Mapping[Part, Sequence[Ranking]], folder: Path) -> None:
    """A line each, with the use that it is made for."""
    with (folder / FILE).open("w", encoding="utf-8") as file:
        for part, made in rankings.items():
            for ranking in made:
                file.write(json.dumps({"part": part, **asdict(ranking)}, ensure_ascii=False) + "\n")


def read_rankings(folder: Path, part: Part) -> Iterator[Ranking]:
    """The rankings made for one use."""
    with (folder / FILE).open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row.pop("part") == part:
                answers = tuple(RankedAnswer(**answer) for answer in row["answers"])
                yield Ranking(Question(**row["question"]), answers)


@dataclass(frozen=True)
class RankedRows:
    """A ranking as token ids: one row an answer."""

    rows: list[list[int]]
    tiers: list[int]
    weight: float = 1.0


def as_rows(ranking: Ranking, tokenizer: Tokenizer, length: int) -> RankedRows:
    """Each answer after the question, cut to the context from the right."""
    prompt = prompt_ids(ranking.question.prompt, tokenizer)
    rows = [with_answer(prompt, answer, tokenizer).token_ids[:length] for answer in ranking.answers]
    return RankedRows(rows, [answer.tier for answer in ranking.answers])


def collate(rankings: Iterable[RankedRows]) -> RankingBatch:
    """All answers of some questions as one batch."""
    chosen = list(rankings)
    rows = [row for ranking in chosen for row in ranking.rows]
    packing = Packing.tight([len(row) for row in rows])
    question_A = torch.tensor([number for number, ranking in enumerate(chosen) for _ in ranking.rows])
    tier_A = torch.tensor([tier for ranking in chosen for tier in ranking.tiers])
    weights = [ranking.weight for ranking in chosen for _ in ranking.rows]
    weight_A = None if set(weights) <= {1.0} else torch.tensor(weights)
    return RankingBatch(packing.fill(rows), packing.document_BT, packing.last_S, question_A, tier_A, weight_A)
