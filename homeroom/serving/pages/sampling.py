"""How answers of one conversation are sampled: a small panel. The choice is kept in the browser, for that conversation
alone: a cookie whose path is the conversation's address.

What applies where nothing was chosen is the server's settings over the model's advice (ServingSettings.sampling).
"""

import json
from collections.abc import Callable
from typing import Annotated, Any, Self
from urllib.parse import unquote

from nicegui import ui
from pydantic import Field, ValidationError

from homeroom.inference.request import Sampling
from homeroom.serving.pages.elements import Words, button, element, set_attribute, set_class
from homeroom.serving.pages.strings import Strings
from homeroom.settings import Frozen

COOKIE = "homeroom_sampling"
MOST_TOKENS = 100_000
LARGEST_SEED = 2**53 - 1  # beyond it a browser's numbers have gaps
OPEN = "() => homeroom.open('sampling')"
CLOSE = "() => homeroom.close('sampling')"
SEND = "(event) => homeroom.sampling(event.target, emit)"
CLEAR = "() => homeroom.clearSampling(emit)"


class Chosen(Frozen):
    """None leaves it to the server."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] | None = None

    @classmethod
    def from_cookie(cls, cookie: str | None) -> Self:
        """Anybody can have any cookie."""
        try:
            return cls.model_validate_json(unquote(cookie or "{}"))
        except ValidationError:
            return cls()

    def told(self) -> dict[str, float]:
        return {name: value for name, value in self.model_dump().items() if value is not None}

    def over(self, default: Sampling) -> Sampling:
        return default.model_copy(update=self.told())


# By name: what the page calls it, what it says of it, the least, the most, and a step of its arrows.
FIELDS: dict[str, tuple[Callable[[Strings], str], Callable[[Strings], str], float, float, str]] = {
    "temperature": (lambda s: s.temperature, lambda s: s.temperature_hint, 0, 2, "0.1"),
    "top_p": (lambda s: s.top_p, lambda s: s.top_p_hint, 0.01, 1, "0.01"),
    "max_tokens": (lambda s: s.longest, lambda s: s.longest_hint, 1, MOST_TOKENS, "1"),
    "seed": (lambda s: s.seed, lambda s: s.seed_hint, 0, LARGEST_SEED, "1"),
}


class SamplingPanel:
    """`default` is what applies where nothing is chosen, now: another model may come to answer."""

    def __init__(self, words: Words, cookie: str | None, default: Callable[[], Sampling]) -> None:
        self._words, self._default = words, default
        self._chosen = Chosen.from_cookie(cookie)
        self._conversation_id: str | None = None
        self._errors: dict[str, Any] = {}
        self._inputs: dict[str, Any] = {}

    def build_button(self) -> None:
        self._button = button("icon-button sampling-button", "tune")
        # The server says what applies now while the panel opens.
        self._button.on("click", self._show_defaults, args=[])
        self._button.on("click", js_handler=OPEN)
        self._words.label(self._button, lambda s: s.sampling_changed if self._chosen.told() else s.sampling)
        set_class(self._button, "changed", bool(self._chosen.told()))

    def build(self) -> None:
        words = self._words
        with element("dialog", "dialog", id="sampling", aria_labelledby="sampling-title"):
            words.text(element("h2", id="sampling-title"), lambda s: s.sampling)
            words.text(element("p", "dialog-hint"), lambda s: s.sampling_hint)
            with element("form", "fields", onsubmit="return false") as form:
                form.on("change", lambda event: self._choose(event.args), js_handler=SEND)
                for name in FIELDS:
                    self._build_field(name)
            with element("div", "better-buttons"):
                reset = button("quiet-button reset")
                reset.on("click", lambda: self._choose({}), js_handler=CLEAR)
                words.text(reset, lambda s: s.reset)
                done = button("solid-button")
                done.on("click", js_handler=CLOSE)
                words.text(done, lambda s: s.done)
        self._show_defaults()

    def applied(self) -> Sampling:
        return self._chosen.over(self._default())

    def belongs_to(self, conversation_id: str, *, new: bool = False) -> None:
        """What was chosen before a conversation had an address is kept under it from now on."""
        self._conversation_id = conversation_id
        if new and self._chosen.told():
            self._keep()

    def _build_field(self, name: str) -> None:
        label, hint, least, most, step = FIELDS[name]
        with element("label"):
            self._words.text(element("strong"), label)
            given = getattr(self._chosen, name)
            number = element("input", type_="number", name=name, step=step, min=str(least), max=str(most))
            number.props["inputmode"] = "decimal" if "." in step else "numeric"
            if given is not None:
                number.props["^value"] = str(given)  # the attribute: what a person types later is not overwritten
            self._inputs[name] = number
            self._words.text(element("span"), hint)
            self._errors[name] = element("span", "field-error", role="alert")

    def _show_defaults(self) -> None:
        default = self._default()
        for name, number in self._inputs.items():
            value = getattr(default, name)
            set_attribute(
                number, "placeholder", "" if value is None else f"{value:g}" if name != "seed" else str(value)
            )

    def _choose(self, sent: object) -> None:
        """From the browser: the fields' values by name, null where a field is empty. Wrong ones are said and left."""
        given = sent if isinstance(sent, dict) else {}
        taken: dict[str, Any] = {}
        for name, (_, _, least, most, _) in FIELDS.items():
            error = ""
            if given.get(name) is not None:
                try:
                    taken |= Chosen.model_validate({name: given[name]}).told()
                except ValidationError:
                    error = self._words.strings.not_valid.format(least=f"{least:,}", most=f"{most:,}")
            self._errors[name].set_text(error)
            set_attribute(self._inputs[name], "aria-invalid", "true" if error else False)
        self._chosen = Chosen(**taken)
        changed = bool(self._chosen.told())
        set_class(self._button, "changed", changed)
        strings = self._words.strings
        for attribute in ("aria-label", "title"):
            set_attribute(self._button, attribute, strings.sampling_changed if changed else strings.sampling)
        if self._conversation_id is not None:
            self._keep()

    def _keep(self) -> None:
        told = self._chosen.told()
        value = json.dumps(told, separators=(",", ":")) if told else ""
        ui.run_javascript(
            f"homeroom.keep({COOKIE!r}, {json.dumps(value)}, '/c/' + {json.dumps(self._conversation_id)})"
        )
