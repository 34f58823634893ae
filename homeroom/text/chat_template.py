"""How a conversation becomes token ids, and which of them are learned from.

A tokenizer of another model brings its own template (rendering.py). Homeroom's own layout:
`<|document|>` `<|system|>`S`<|end|>` `<|user|>`Q`<|end|>` `<|assistant|>`A`<|end|>` …, the system
message optional. Only an assistant's tokens and the `<|end|>` that closes them are learned from.
The Jinja template says the same to other programs. `render` is what Homeroom itself uses, because it encodes
every message on its own: a user who types `<|end|>` gets plain text; a template made into one string obeys it.
`with_answer` is the same with an answer as it was sampled.
Packing, cutting to a context and generation are left to others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from homeroom.text.rendering import render_with_template

if TYPE_CHECKING:
    from homeroom.text.tokenizer import Tokenizer

# `generation` marks what is learned from, so that other trainers can ask the template for the same mask.
JINJA = (
    "{{- '<|document|>' -}}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' and not loop.first -%}"
    "{{- raise_exception('A system message must come first.') -}}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{{- '<|assistant|>' -}}{%- generation -%}{{- message['content'] + '<|end|>' -}}{%- endgeneration -%}"
    "{%- elif message['role'] in ['system', 'user'] -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- else -%}"
    "{{- raise_exception('Roles are system, user and assistant.') -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


class Answer(Protocol):
    """What was said; `token_ids` are the sampler's own, with the end token if it came, or None if a person wrote it."""

    @property
    def text(self) -> str: ...
    @property
    def ended(self) -> bool: ...
    @property
    def token_ids(self) -> Sequence[int] | None: ...


@dataclass(frozen=True)
class Rendered:
    token_ids: list[int]
    learn: list[bool]  # learn[i]: token i is to be predicted from those before it


def render(messages: Sequence[Mapping[str, str]], tokenizer: "Tokenizer", *, for_generation: bool = False) -> Rendered:
    """The ids of a conversation; with `for_generation` they end where the assistant begins to answer.

    Raises ValueError for what is no conversation, ChatTemplateError (one too) where the model's own template refuses,
    and NoChatTemplate where it has none.
    """
    if not tokenizer.is_own:
        return Rendered(*render_with_template(messages, tokenizer, for_generation=for_generation))
    openers = {
        "system": tokenizer.system_id,
        "user": tokenizer.user_id,
        "assistant": tokenizer.assistant_id,
    }
    token_ids, learn = [tokenizer.document_id], [False]
    for position, message in enumerate(messages):
        role, content = message["role"], message["content"]
        if role not in openers:
            raise ValueError(f"message {position}: role is {role!r}; allowed are {', '.join(openers)}")
        if role == "system" and position > 0:
            raise ValueError(f"message {position}: a system message must come first")
        body = [*tokenizer.encode(content), tokenizer.end_id]
        token_ids += [openers[role], *body]
        learn += [False] + [role == "assistant"] * len(body)
    if for_generation:
        token_ids.append(tokenizer.assistant_id)
        learn.append(False)
    return Rendered(token_ids, learn)


def answers_in(learn: Sequence[bool]) -> int:
    """How many answers are learned from: each is closed by its end, and something else stands between two."""
    return sum(begins and not before for before, begins in pairwise([False, *learn]))


def prompt_ids(question: str, tokenizer: "Tokenizer") -> list[int]:
    """A question as the first message of a conversation, up to where the assistant begins."""
    return render([{"role": "user", "content": question}], tokenizer, for_generation=True).token_ids


def with_answer(prompt_ids: Sequence[int], answer: Answer, tokenizer: "Tokenizer") -> Rendered:
    """A prompt and an answer to it, which alone is learned; one that was cut off has no end token.

    A model's answer stays as it was sampled. Encoded again it would mostly be other tokens, which the model never said,
    and its broken bytes would be lost. One that a person wrote is encoded by itself, then closed.
    """
    sampled = answer.token_ids
    if sampled is not None and _says(sampled, answer, tokenizer):
        said = list(sampled)
    else:
        said = [*tokenizer.encode(answer.text), *([tokenizer.end_id] if answer.ended else [])]
    return Rendered([*prompt_ids, *said], [False] * len(prompt_ids) + [True] * len(said))


def _says(sampled: Sequence[int], answer: Answer, tokenizer: "Tokenizer") -> bool:
    """Whether the ids are the answer that was shown: not if another tokenizer's model said them, or a stop string cut
    the text short of them."""
    return (
        max(sampled, default=0) < tokenizer.vocab_size
        and tokenizer.end_ids.isdisjoint(sampled) != answer.ended
        and tokenizer.decode(sampled).strip() == answer.text.strip()
    )
