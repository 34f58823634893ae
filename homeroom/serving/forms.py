"""What an answer may be held to by a request, and the grammar that is made of it.

`response_format` is OpenAI's; `structured_outputs` is vLLM's, of which json, regex and choice are known:

    client.chat.completions.create(…, extra_body={"structured_outputs": {"choice": ["yes", "no"]}})

Both kinds of completion take both. An answer whose finish reason is "stop" has the form that was asked for; what was
cut, by its number of tokens, by the context or by a stop string, has "length". How tokens are chosen is the engine's.
"""

import asyncio
import json
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

import pydantic
from pydantic import ConfigDict, Field

from homeroom.settings import HomeroomError
from homeroom.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from homeroom.inference.constraints import GrammarConstraint, Vocabulary

LONGEST_SCHEMA = 40_000  # characters of JSON
LONGEST_REGEX = 4_000
MOST_CHOICES = 1_000
LONGEST_CHOICE = 1_000
TRIAL_SECONDS = 2.0
_KEPT = 16  # compiled grammars, of up to some 40 MB: most requests ask for what others asked for before

Schema = dict[str, object]
Choice = Annotated[str, Field(min_length=1, max_length=LONGEST_CHOICE)]


class FormRefused(HomeroomError):
    """What no answer can be held to; `param` is where it stands in a request."""

    def __init__(self, param: str, reason: str) -> None:
        self.param = param
        super().__init__(f"Invalid value for '{param}': {reason}.")


class FormFailed(FormRefused):
    """An answer that could not go on in its grammar, so that it ended without the form that was asked for."""


class Strict(pydantic.BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class JsonSchema(Strict):
    """`strict` changes nothing: every answer keeps to its schema."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    schema_: Annotated[Schema | None, Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @pydantic.model_validator(mode="after")
    def _schema_where_it_belongs(self) -> Self:
        if (self.json_schema is not None) != (self.type == "json_schema"):
            raise ValueError('json_schema goes with type "json_schema", and only with it')
        return self

    def form(self) -> "Form | None":
        if self.type == "text":
            return None
        if self.json_schema is None or self.json_schema.schema_ is None:
            return Form("response_format", "json", {"type": "object"})
        return Form("response_format.json_schema.schema", "json", self.json_schema.schema_)


class StructuredOutputs(Strict):
    """One of them."""

    json_: Annotated[Schema | None, Field(alias="json", description="a JSON schema")] = None
    regex: Annotated[str, Field(min_length=1, max_length=LONGEST_REGEX)] | None = None
    choice: Annotated[list[Choice], Field(min_length=1, max_length=MOST_CHOICES)] | None = None

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        if [self.json_, self.regex, self.choice].count(None) != 2:
            raise ValueError("it takes one of json, regex and choice")
        return self

    def form(self) -> "Form":
        if self.json_ is not None:
            return Form("structured_outputs.json", "json", self.json_)
        if self.regex is not None:
            return Form("structured_outputs.regex", "regex", self.regex)
        return Form("structured_outputs.choice", "choice", list(self.choice or ()))


@dataclass(frozen=True)
class Form:
    """`param`: where it stands in a request."""

    param: str
    kind: Literal["json", "regex", "choice"]
    value: Schema | str | list[str]


class Grammars:
    """One model's: its vocabulary, made for the first request that needs it, and what was compiled lately.

    All of it in one thread of its own, where a grammar that takes its time delays nothing but other grammars.
    """

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        self._tokenizer, self._size = tokenizer, size
        self._vocabulary: Vocabulary | None = None
        self._compiled: OrderedDict[str, GrammarConstraint] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grammars")

    async def constraints(self, form: Form, count: int, *, goes_on: bool) -> "list[GrammarConstraint]":
        """One for each of `count` answers. `goes_on`: they go on a text. Raises FormRefused."""

        def made() -> "list[GrammarConstraint]":
            constraint = self._constraint(form, goes_on)
            return [constraint.copy() for _ in range(count)]

        return await asyncio.get_running_loop().run_in_executor(self._thread, made)

    def _constraint(self, form: Form, goes_on: bool) -> "GrammarConstraint":
        try:
            from homeroom.inference.constraints import GrammarError, Vocabulary
        except ImportError as error:
            raise FormRefused(form.param, "this server lacks llguidance: `pip install llguidance`") from error
        try:
            written = json.dumps(form.value, ensure_ascii=False)
        except RecursionError as error:
            raise FormRefused(form.param, "it is nested too deep") from error
        name = f"{form.kind} {goes_on} {written}"
        if form.kind == "json" and len(written) > LONGEST_SCHEMA:
            raise FormRefused(form.param, f"a schema of more than {LONGEST_SCHEMA} characters of JSON")
        if name not in self._compiled:
            if self._vocabulary is None:
                self._vocabulary = Vocabulary(self._tokenizer, self._size, trial_seconds=TRIAL_SECONDS)
            try:
                self._compiled[name] = _compiled(self._vocabulary, form.value, goes_on)
            except GrammarError as error:
                raise FormRefused(form.param, str(error)) from error
        self._compiled.move_to_end(name)
        while len(self._compiled) > _KEPT:
            self._compiled.popitem(last=False)
        return self._compiled[name]


def _compiled(vocabulary: "Vocabulary", value: Schema | str | list[str], goes_on: bool) -> "GrammarConstraint":
    if isinstance(value, str):
        return vocabulary.regex(value, goes_on=goes_on)
    if isinstance(value, list):
        return vocabulary.choices(value, goes_on=goes_on)
    return vocabulary.json_schema(value)
