"""Cloze by likelihood: a model's choice is the one that makes the scored text most likely.

Items and the examples in front of them are written by `homeroom.tasks.cloze`; this file scores and counts.
"""

from collections.abc import Callable, Sequence

from homeroom.evaluation.likelihood import choice_logprobs
from homeroom.inference.request import Choice
from homeroom.models.compiled import CompiledGPT
from homeroom.models.gpt import GPT
from homeroom.settings import HomeroomError
from homeroom.tasks.cloze import ClozeItem
from homeroom.text.tokenizer import Tokenizer


def cloze_outcomes(
    model: GPT | CompiledGPT,
    tokenizer: Tokenizer,
    items: Sequence[ClozeItem],
    *,
    on_items: Callable[[int], None] | None = None,
) -> dict[str, bool]:
    """Of each item's document whether its right choice scores highest. Items that overflow the context are left out."""
    asked = [(item, *_token_ids(item, tokenizer)) for item in items]
    fitting = [
        (item, prompt, options)
        for item, prompt, options in asked
        if len(prompt) + max(len(option.token_ids) for option in options) <= model.config.max_length
    ]
    if not fitting:
        raise HomeroomError(
            f"none of {len(items)} cloze items fits a context of {model.config.max_length} tokens: "
            "ask with fewer examples"
        )
    if on_items is not None:
        on_items(len(items) - len(fitting))
    scores = choice_logprobs(
        model,
        [prompt for _, prompt, _ in fitting],
        [options for _, _, options in fitting],
        on_prompts=on_items,
    )
    return {
        item.document_id: row.index(max(row)) == item.answer for (item, _, _), row in zip(fitting, scores, strict=True)
    }


def _token_ids(item: ClozeItem, tokenizer: Tokenizer) -> tuple[list[int], list[Choice]]:
    """Prompt and choices. As in pretraining, the text is a document of its own."""
    prompt = [tokenizer.document_id, *tokenizer.encode(item.context)]
    choices = [tokenizer.encode(choice) for choice in item.choices]
    if not item.after:
        return prompt, [Choice(choice) for choice in choices]
    return prompt, [Choice(tokenizer.encode(item.after), choice) for choice in choices]
