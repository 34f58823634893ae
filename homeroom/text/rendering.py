"""A conversation through a model's own chat template: the ids that `transformers` makes of it, and what is learned.

One thing differs on purpose: a special token that somebody typed stays text (marking.py). The template itself is run
by sandbox.py; Homeroom's own layout, which needs none of this, is in chat_template.py.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import tokenizers
from tokenizers import models

from homeroom.text.errors import ChatTemplateError, NoChatTemplate
from homeroom.text.marking import Marking
from homeroom.text.sandbox import LEARN, LEARN_NO_MORE, has_generation, write_out
from homeroom.text.token_bytes import encodable, parts

if TYPE_CHECKING:
    from homeroom.text.tokenizer import Tokenizer

ROLES = ("system", "developer", "user", "assistant", "tool", "function", "ipython")
Span = tuple[int, int]


@dataclass(frozen=True)
class Encoded:
    token_ids: list[int]
    places: list[Span]  # where in the text each token stands


class TemplateEncoder:
    """Text in which special tokens count, as a template writes it; the tokenizer's own `encode` takes them for text."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._text_only, self._obeying = backend, _copy(backend)
        self._obeying.encode_special_tokens = False
        added = backend.get_added_tokens_decoder()
        self._special = {token_id: token.content for token_id, token in added.items() if token.special}
        self.special_tokens = frozenset(self._special.values())

    def encode(self, text: str, marking: Marking) -> Encoded:
        """`text` has stand-ins where special tokens were typed; what is encoded has none."""
        whole = self._obeying.encode(text, add_special_tokens=False)
        token_ids: list[int] = []
        places: list[Span] = []
        done, at = 0, 0  # characters, tokens
        for index, start, end in [*self._written(whole, text), (len(whole.ids), len(text), len(text))]:
            between = text[done:start]
            typed = marking.undo(between)
            if typed == between and self._special.keys().isdisjoint(whole.ids[at:index]):
                token_ids += whole.ids[at:index]
                places += whole.offsets[at:index]
            else:
                encoding = (self._going_on if done else self._text_only).encode(typed, add_special_tokens=False)
                token_ids += encoding.ids
                places += [(done + first, done + last) for first, last in encoding.offsets]
            token_ids += whole.ids[index : index + 1]
            places += whole.offsets[index : index + 1]
            done, at = end, index + 1
        return Encoded(token_ids, places)

    def _written(self, whole: tokenizers.Encoding, text: str) -> Iterator[tuple[int, int, int]]:
        """The special tokens that stand in the text: a normalizer could make others of characters that are none."""
        for index, (token_id, (start, end)) in enumerate(zip(whole.ids, whole.offsets, strict=True)):
            if token_id in self._special and self._special[token_id] in text[start:end]:
                yield index, start, end

    @cached_property
    def _going_on(self) -> tokenizers.Tokenizer:
        """For text after something else, where a `Metaspace` that is for the first word writes no space."""
        going_on = _copy(self._text_only)
        state = json.dumps([*parts(self._text_only.pre_tokenizer)])
        never = state.replace('"prepend_scheme": "first"', '"prepend_scheme": "never"')
        if never != state:
            empty = json.loads(tokenizers.Tokenizer(models.BPE()).to_str())
            empty["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": json.loads(never)}
            going_on.pre_tokenizer = tokenizers.Tokenizer.from_str(json.dumps(empty)).pre_tokenizer
        going_on.encode_special_tokens = True
        return going_on


def _copy(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """With switches of its own; the vocabulary and merges are shared."""
    copy = tokenizers.Tokenizer(backend.model)
    copy.normalizer, copy.pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    for _, token in sorted(backend.get_added_tokens_decoder().items()):
        copy.add_tokens([token])
    return copy


def render_with_template(
    messages: Sequence[Mapping[str, Any]], tokenizer: "Tokenizer", *, for_generation: bool
) -> tuple[list[int], list[bool]]:
    """Ids, and which are learned: the assistants' and the end tokens that close them. Nothing is, of a prompt."""
    template = tokenizer.chat_template
    if template is None:
        raise NoChatTemplate(
            "this tokenizer has no chat template: it belongs to a base model, which continues text and is no "
            "assistant. Ask it for completions, or give it a chat_template in tokenizer_config.json (that of its "
            "instruct version) and train it on conversations."
        )
    for position, message in enumerate(messages):
        if message["role"] not in ROLES:  # a template could build a special token of it
            raise ChatTemplateError(f"message {position}: role is {message['role']!r}; allowed are {', '.join(ROLES)}")
    conversation = _Conversation.of(messages, template, tokenizer)
    text, spans = conversation.write(len(messages), for_generation)
    encoded = tokenizer.template_encoder.encode(text, conversation.marking)
    learn = [False] * len(encoded.token_ids)
    if not for_generation:
        if not has_generation(template):
            spans = conversation.answers(text)
        for span in spans:
            _mark(learn, encoded, span, tokenizer.end_ids, whole=has_generation(template))
    return encoded.token_ids, learn


def _mark(learn: list[bool], encoded: Encoded, span: Span, end_ids: frozenset[int], *, whole: bool) -> None:
    """An answer up to its first end token; where the template's author marked the `whole`, that and an end after it."""
    within = [index for index, place in enumerate(encoded.places) if _overlap(place, span)]
    for index in within:
        learn[index] = True
        if encoded.token_ids[index] in end_ids and not whole:
            return
    after = within[-1] + 1 if within else len(learn)
    if whole and encoded.token_ids[after - 1] not in end_ids and set(encoded.token_ids[after : after + 1]) & end_ids:
        learn[after] = True


def _overlap(place: Span, span: Span) -> bool:
    return place[0] < span[1] and max(place[1], place[0] + 1) > span[0]


@dataclass(frozen=True)
class _Conversation:
    template: str
    marking: Marking
    names: Mapping[str, str]

    @classmethod
    def of(cls, messages: Sequence[Mapping[str, Any]], template: str, tokenizer: "Tokenizer") -> "_Conversation":
        special_tokens = tokenizer.template_encoder.special_tokens
        return cls(template, Marking(messages, special_tokens, template), tokenizer.names)

    def write(self, count: int, for_generation: bool) -> tuple[str, list[Span]]:
        """The first messages as text, and where its `generation` blocks stand."""
        written = write_out(self.template, self.marking.messages[:count], self.names, for_generation=for_generation)
        text, spans, starts = "", [], []
        for piece in re.split(f"([{LEARN}{LEARN_NO_MORE}])", encodable(written)):
            if piece == LEARN:
                starts.append(len(text))
            elif piece == LEARN_NO_MORE:
                spans.append((starts.pop() if starts else 0, len(text)))
            else:
                text += piece
        return text, spans

    def answers(self, text: str) -> list[Span]:
        """Where each answer stands in the whole: after what would be asked for it, up to where the next message is."""
        spans = []
        for index, message in enumerate(self.marking.messages):
            if message["role"] != "assistant":
                continue
            before = self.write(index, False)[0] if index else ""
            asked = self.write(index, True)[0] if index else ""
            # A prompt can hold more than what an answer begins with, such as an opened <think>.
            start = next((at for at, (a, b) in enumerate(zip(asked, text, strict=False)) if a != b), len(asked))
            if start < len(before):
                raise ChatTemplateError(
                    f"message {index}: the chat template writes what came before it differently once it is answered, "
                    "so what is to be learned cannot be told. Mark it in the template with {% generation %} … "
                    "{% endgeneration %}."
                )
            with_answer = self.write(index + 1, False)[0]
            spans.append((start, len(with_answer) if text.startswith(with_answer) else len(text)))
        return spans


def closing_id(tokenizer: "Tokenizer") -> int | None:
    """The special token that the template writes after an answer, if it writes one."""
    answer = "answer"
    talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]
    try:
        conversation = _Conversation.of(talk, tokenizer.chat_template or "", tokenizer)
        text, _ = conversation.write(len(talk), False)
    except ChatTemplateError:  # it is told where somebody wants to talk
        return None
    encoded = tokenizer.template_encoder.encode(text, conversation.marking)
    end = text.rfind(answer) + len(answer)
    for token_id, (start, _) in zip(encoded.token_ids, encoded.places, strict=True):
        if start >= end and token_id in tokenizer.special_ids:
            return None if text[end:start].strip() else token_id
    return None
