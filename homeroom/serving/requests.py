"""What requests have in common: text, names, how to sample, when to stop. And what every answer to them is made of.

The routes are openai_api.py's and completions_api.py's.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from homeroom.inference.request import Sampling, TokenScore
from homeroom.serving.assistant import Assistant
from homeroom.serving.errors import ApiError
from homeroom.serving.forms import Form, ResponseFormat, Strict, StructuredOutputs
from homeroom.text.tokenizer import Tokenizer

MOST_ANSWERS = 16  # to one request
MOST_ALTERNATIVES = 20
ALIAS = "homeroom"  # a name for whichever model is champion


def unicode_text(text: str) -> str:
    """JSON can carry half a surrogate pair, which is no text to databases and tokenizers."""
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("it holds half a surrogate pair, which is not Unicode text")
    return text


RecordId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]
# NUL is no text to some databases.
UserName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$"), AfterValidator(unicode_text)]


def plain_text(content: object) -> object:
    """Content is text, or a list of text parts, which are joined. NUL is no text to some databases."""
    if isinstance(content, list):
        for part in content:
            if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                raise ValueError('only text is supported: a string, or parts of the form {"type": "text", "text": …}')
        content = "".join(part["text"] for part in content)
    return content.replace("\0", "\ufffd") if isinstance(content, str) else content


TEXT: dict[str, Any] = {"type": "string"}
_PART = {"type": "object", "properties": {"type": {"const": "text"}, "text": TEXT}, "required": ["type", "text"]}
STOP: dict[str, Any] = {
    "anyOf": [
        TEXT | {"minLength": 1},
        {"type": "array", "items": TEXT | {"minLength": 1}, "maxItems": 4},
        {"type": "null"},
    ]
}
TEXT_OR_PARTS: dict[str, Any] = {"anyOf": [TEXT, {"type": "array", "items": _PART}]}


def is_blank(text: str) -> bool:
    """Nothing that could be read: spaces, controls, or marks without width."""
    return all(unicodedata.category(letter) in ("Zs", "Zl", "Zp", "Cc", "Cf") for letter in text)


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class Extension(Strict):
    """What the API has beyond OpenAI's."""

    top_k: Annotated[int, Field(ge=0)] = 0
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None


def _only_zero(value: object) -> object:
    if value not in (0, None):
        raise ValueError("it is not supported here; homeroom.repetition_penalty is")
    return value


class Asked(Strict):
    """What both kinds of completion take."""

    model: str
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[
        Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=4)] | None,
        BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
        WithJsonSchema(STOP),
    ] = None
    n: Annotated[int, Field(ge=1, le=MOST_ANSWERS)] | None = None
    user: UserName | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None

    # Known, but only with the value that changes nothing.
    frequency_penalty: Annotated[float, Field(ge=0, le=0), BeforeValidator(_only_zero)] | None = None
    presence_penalty: Annotated[float, Field(ge=0, le=0), BeforeValidator(_only_zero)] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    @pydantic.field_validator("structured_outputs")
    @classmethod
    def _one_form(cls, outputs: StructuredOutputs | None, others: pydantic.ValidationInfo) -> StructuredOutputs | None:
        other: ResponseFormat | None = others.data.get("response_format")
        if outputs is not None and other is not None and other.form() is not None:
            raise ValueError("an answer has one form: leave it or response_format out")
        return outputs

    @property
    def form(self) -> Form | None:
        asked = self.structured_outputs or self.response_format
        return asked.form() if asked is not None else None

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def sampling_by(self, default: Sampling, extension: Extension, max_tokens: int | None) -> Sampling:
        return Sampling(
            temperature=default.temperature if self.temperature is None else self.temperature,
            top_k=extension.top_k,
            top_p=default.top_p if self.top_p is None else self.top_p,
            min_p=extension.min_p,
            repetition_penalty=extension.repetition_penalty or default.repetition_penalty,
            max_tokens=default.max_tokens if max_tokens is None else max_tokens,
            seed=None if self.seed is None else self.seed & (2**63 - 1),
        )


def served(name: str, assistant: Assistant) -> str:
    """The name, if it is the model's that answers. Raises ApiError."""
    current = assistant.model_id
    if name not in (current, ALIAS):
        raise ApiError(
            404,
            f"The model '{name}' does not exist or is not served now. Served is '{current}', also called '{ALIAS}'.",
            param="model",
            code="model_not_found",
        )
    return name


def event(value: object) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


def chat_logprobs(tokens: Sequence[TokenScore], tokenizer: Tokenizer) -> dict[str, Any]:
    """As chat completions have them."""

    def told(token_id: int, logprob: float) -> dict[str, Any]:
        return {
            "token": tokenizer.shown(token_id),
            "logprob": logprob,
            "bytes": list(tokenizer.decode_bytes([token_id])),
        }

    content = [
        told(one.token_id, one.logprob) | {"top_logprobs": [told(*other) for other in one.top]} for one in tokens
    ]
    return {"content": content, "refusal": None}


def text_logprobs(
    tokens: Sequence[TokenScore | int],
    tokenizer: Tokenizer,
    top: int,
    before: Sequence[int] = (),
    *,
    echo: bool = False,
) -> dict[str, Any]:
    """As completions have them. A bare id is a token that nothing stands before, so that it has no score.

    Offsets are places in the text: tokens that make a character together have one. `before` are the ids of the text
    that was given already; with `echo` the first token is the text's first.
    """
    ids = [one if isinstance(one, int) else one.token_id for one in tokens]
    shown, offsets = [tokenizer.shown(token) for token in ids], []
    decoder = tokenizer.stream_decoder(goes_on=not echo)
    silent = tokenizer.end_ids
    offset = sum(len(decoder.push(token)) for token in before if token not in silent)
    for token in ids:
        offsets.append(offset)
        offset += len(decoder.push(token)) if token not in silent else 0
    tops: list[Mapping[str, float] | None] = [
        None if isinstance(one, int) else {tokenizer.shown(token): logprob for token, logprob in one.top[:top]}
        for one in tokens
    ]
    return {
        "tokens": shown,
        "token_logprobs": [None if isinstance(one, int) else one.logprob for one in tokens],
        "top_logprobs": tops if top else None,
        "text_offset": offsets,
    }
