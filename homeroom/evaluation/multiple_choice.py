"""Any multiple-choice file by log-likelihood: rows to questions, questions to scores, scores to figures.

    items = read_items(Path("arc_easy.jsonl"), print)
    figures(score_items(model, tokenizer, items, shots=5), shots=5)

What a row means and how it is worded is in `homeroom.tasks.multiple_choice`. A question counts as answered right where
the right choice has the highest log-probability: as it is, and per byte of the choice, since each further token makes
a choice less likely.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from homeroom.data.reading import Reject, Report, invalid, is_binary, lines
from homeroom.evaluation.comparison import proportion
from homeroom.evaluation.likelihood import choice_logprobs
from homeroom.inference.request import Choice
from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT
from homeroom.settings import HomeroomError, Json
from homeroom.tasks.multiple_choice import ROW, BadRow, Item, draw_examples, item_of, prompt_after
from homeroom.text.tokenizer import Tokenizer

# So many questions are held as tokens at a time: a list of them all takes gigabytes with many examples.
_PORTION = 512


def read_items(path: Path, report: Report) -> list[Item]:
    """The questions of a .jsonl or .jsonl.gz file. Each line that is none is reported and left out.

    Raises HomeroomError where the file is not there, or holds no question at all.
    """
    if not path.is_file():
        raise HomeroomError(f"{path}: there is no such file")
    rejects: list[str] = []

    def reject(one: Reject) -> None:
        rejects.append(str(one))
        report(one)

    try:
        items = list(_items(path, reject))
    except OSError as error:
        raise HomeroomError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not items:
        told = "; ".join(rejects[:3]) or "the file is empty"
        raise HomeroomError(f"{path}: no question could be read. Each line must be one as {ROW}. {told}")
    return items


def _items(path: Path, report: Report) -> Iterator[Item]:
    with path.open("rb") as file:
        head = file.read(8192)
    if is_binary(head) and not path.name.lower().endswith(".gz"):
        report(Reject(path.name, None, "binary data, not JSON lines"))
        return
    for number, line in lines(path, path.name, report):
        try:
            text = line.decode("utf-8-sig")
            if text.strip():
                item = item_of(json.loads(text))
                yield item if item.id else replace(item, id=str(number))
        except UnicodeDecodeError as error:
            report(Reject(path.name, number, invalid(error)))
        except (ValueError, RecursionError) as error:
            why = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            report(Reject(path.name, number, f"not JSON: {why}"))
        except BadRow as bad:
            report(Reject(path.name, number, str(bad)))


@dataclass(frozen=True)
class Scored:
    """A question, how many examples stood before it, and each choice's log-probability (nats).

    None at all where the question is longer than the model's context even without examples.
    """

    item: Item
    examples: int
    logprobs: tuple[float, ...]

    @property
    def picked(self) -> int:
        return _highest(self.logprobs)

    @property
    def picked_per_byte(self) -> int:
        sizes = [len(choice.encode()) for choice in self.item.choices]
        return _highest([logprob / size for logprob, size in zip(self.logprobs, sizes, strict=True)])


def _highest(values: Sequence[float]) -> int:
    return values.index(max(values))


def score_items(
    model: GPT | CompiledGPT,
    tokenizer: Tokenizer,
    items: Sequence[Item],
    *,
    shots: int = 0,
    pool: Sequence[Item] | None = None,
    seed: int = 0,
    on_items: Callable[[int], None] | None = None,
) -> list[Scored]:
    """Each question behind `shots` examples of the pool (the items themselves if none is given), in their order.

    Where that is longer than the model's context, its first examples are left out. Raises HomeroomError where the pool
    has too few others.
    """
    examples = list(draw_examples(items, items if pool is None else pool, shots, seed))
    scored: list[Scored] = []
    for first in range(0, len(items), _PORTION):
        portion = items[first : first + _PORTION]
        rows = _laid_out(portion, examples[first : first + _PORTION], tokenizer, model.config.max_length)
        fitting = [row for row in rows if row is not None]
        if on_items is not None:
            on_items(len(rows) - len(fitting))
        prompts, choices = [row.prompt for row in fitting], [row.choices for row in fitting]
        found = iter(choice_logprobs(model, prompts, choices, on_prompts=on_items) if fitting else ())
        for item, row in zip(portion, rows, strict=True):
            scored.append(Scored(item, row.examples, tuple(next(found))) if row else Scored(item, 0, ()))
    return scored


@dataclass(frozen=True)
class _Row:
    examples: int
    prompt: list[int]
    choices: list[Choice]


def _laid_out(
    items: Sequence[Item], examples: Sequence[Sequence[Item]], tokenizer: Tokenizer, context: int
) -> list[_Row | None]:
    """Tokens of each question with as many of its last examples as fit; None where it does not fit alone."""
    rows: list[_Row | None] = [None] * len(items)
    kept = [len(before) for before in examples]
    waiting = list(range(len(items)))
    while waiting:
        texts: list[str] = []
        for place in waiting:
            before = examples[place]
            prompt = prompt_after(before[len(before) - kept[place] :], items[place])
            texts += [prompt, *(f"{prompt} {choice}" for choice in items[place].choices)]
        encoded = iter(tokenizer.encode_batch(texts))
        too_long = []
        for place in waiting:
            prompt_ids = next(encoded)
            wholes = [next(encoded) for _ in items[place].choices]
            if 1 + max(map(len, wholes)) <= context:
                rows[place] = _cut(kept[place], prompt_ids, wholes, tokenizer)
            elif kept[place]:
                kept[place] -= 1
                too_long.append(place)
        waiting = too_long
    return rows


def _cut(examples: int, prompt: list[int], wholes: Sequence[list[int]], tokenizer: Tokenizer) -> _Row:
    """Prompt and choices, encoded as one text and cut where that is no longer the prompt's tokens.

    Text that is cut before it is encoded has tokens at the border that the model never met in that place. The cut is
    the same for all choices: where one of them melts into the prompt's last token, what is scored of the others begins
    there as well, so that all are probabilities of a text behind the same beginning.
    """
    # The -1 is no token: it ends the prompt where the others go on.
    cut = _common([[*prompt, -1], *wholes])
    # Where the model is used to one: the server and lm-evaluation-harness do the same.
    first = [tokenizer.document_id] if tokenizer.adds_bos or not cut else []
    return _Row(examples, [*first, *prompt[:cut]], [Choice(whole[cut:]) for whole in wholes])


def _common(rows: Sequence[Sequence[int]]) -> int:
    """How many first tokens all rows share, short of the shortest row's last: something is left to score."""
    limit = min(map(len, rows)) - 1
    return next((place for place in range(limit) if len({row[place] for row in rows}) > 1), limit)


def figures(scored: Sequence[Scored], shots: int) -> dict[str, Json]:
    """Accuracy with 95 % intervals, overall and by category, and what of the questions was cut or left out.

    Raises HomeroomError where no question fits the model's context.
    """
    asked = [one for one in scored if one.logprobs]
    if not asked:
        raise HomeroomError(
            f"none of the {len(scored)} questions fits the model's context, even without examples: "
            "ask shorter ones, or a model with a longer context ([pretrain].max_length)"
        )
    by_category: dict[str, list[Scored]] = defaultdict(list)
    for one in asked:
        if one.item.category:
            by_category[one.item.category].append(one)
    return {
        "shots": shots,
        **_accuracy(asked),
        "too_long": len(scored) - len(asked),
        "fewer_examples": sum(one.examples < shots for one in asked),
        "by_category": {name: _accuracy(of_it) for name, of_it in sorted(by_category.items())},
    }


def _accuracy(asked: Sequence[Scored]) -> dict[str, Json]:
    return {
        "accuracy": proportion([one.picked == one.item.answer for one in asked]).figures(),
        "accuracy_per_byte": proportion([one.picked_per_byte == one.item.answer for one in asked]).figures(),
        "chance": sum(1 / len(one.item.choices) for one in asked) / len(asked),
    }
