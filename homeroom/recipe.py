"""The recipe: every stage's settings in one strict, frozen tree, read from TOML with `--set` laid over it.

Fills in what the size dial derives and gives each stage its own seed. What a setting means is left to the
stage, the dial's arithmetic to the planner.
"""

import difflib
import importlib
import json
import tomllib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic_core import ErrorDetails

from homeroom import planner
from homeroom.files import write_atomically
from homeroom.planner import Choice
from homeroom.settings import Frozen, HomeroomError, Json
from homeroom.stages import CIRCLE

SECTIONS = (*CIRCLE, "teach", "watch", "serve")
# Which of the dial's values each section takes; a section that sets one itself keeps its own.
DIAL = {
    "tokenize": ("vocab_size",),
    "pretrain": ("depth", "width", "heads", "max_length", "tokens", "batch_tokens", "learning_rate"),
}
# What a recipe fits to the size that it was written for, and what is no good at another.
FITTED = {**DIAL, "pretrain": (*DIAL["pretrain"], "minutes", "embedding_rate")}
STORED = "recipe.json"
Settings = TypeVar("Settings", bound=Frozen)


class RecipeError(HomeroomError):
    """A recipe that cannot be read; the message names the file, the section and the key."""


class Top(Frozen):
    """The keys above the sections."""

    seed: NonNegativeInt = Field(1, description="every stage draws its own seed from this one")
    size: str | None = Field(None, description="the size dial by name, from nano to huge")
    depth: PositiveInt | None = Field(None, description="the size dial as a number of layers, in place of `size`")

    @pydantic.field_validator("size")
    @classmethod
    def _known(cls, size: str | None) -> str | None:
        if size is not None and size not in planner.SIZES:
            raise ValueError(f"allowed is one of {', '.join(planner.SIZES)}")
        return size


@dataclass(frozen=True)
class Recipe:
    """A recipe that was read and found right."""

    origin: str
    given: Mapping[str, Json]
    """What was written, `--set` included: read again it gives the same recipe."""
    configs: Mapping[str, Frozen]
    choices: Sequence[Choice]

    def derived(self) -> list[Choice]:
        """What the size dial chose and what follows from it, for people to read."""
        value = {choice.name: choice.value for choice in self.choices}
        shape = planner.shape_of(value, _section(self.given, "pretrain"))
        per_token = planner.flops_per_token(shape)
        return [
            *self.choices,
            Choice("parameters", planner.parameters(shape), "all weights"),
            Choice("flops_per_token", per_token, "forward and backward"),
            Choice("training_flops", per_token * value["tokens"], "flops_per_token × tokens"),
        ]

    def save(self, folder: Path) -> Path:
        """Keep the recipe beside what it makes, so that single stages run later use the same settings."""
        record = {
            "origin": self.origin,
            "given": self.given,
            "derived": {choice.name: [choice.value, choice.why] for choice in self.derived()},
            "resolved": {stage: config.model_dump(mode="json") for stage, config in self.configs.items()},
        }
        path = folder / STORED
        write_atomically(path, json.dumps(record, ensure_ascii=False, indent=1))
        return path


def load(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a TOML recipe, or one that `Recipe.save` kept."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        here = sorted(str(found) for found in Path("recipes").glob("*.toml"))
        raise RecipeError(f"recipe {path}: no such file. Here are: {', '.join(here) or 'none'}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {path}: cannot be read as text ({error})") from None
    try:
        given = json.loads(text)["given"] if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"recipe {path}: {error}") from None
    if not isinstance(given, dict):
        raise RecipeError(f"recipe {path}: 'given' is {json.dumps(given)}, but must be a table of settings")
    return resolve(given, path.name, stage_configs(), overrides)


def stage_configs() -> dict[str, type[Frozen]]:
    """Every section's Config class. Loads the stages, torch among them: only for who is about to run one."""
    return {name: importlib.import_module(f"homeroom.stages.{name}").Config for name in SECTIONS}


def resolve(
    given: Mapping[str, Json], origin: str, configs: Mapping[str, type[Frozen]], overrides: Iterable[str] = ()
) -> Recipe:
    """Lay the overrides over what was given, derive what is open, and check it all."""
    given = _overridden(given, origin, overrides)
    top = _checked(Top, {key: value for key, value in given.items() if key not in configs}, origin, also=configs)
    for stage in configs:
        if not isinstance(given.get(stage, {}), dict):
            raise RecipeError(f"recipe {origin}: {stage} = {given[stage]!r}: must be a section, [{stage}]")
    if top.size and top.depth:
        raise RecipeError(f"recipe {origin}: size = {top.size!r} and depth = {top.depth} both set; keep one")
    written = {**_section(given, "tokenize"), **_section(given, "pretrain")}
    choices = planner.dial(top.depth or planner.SIZES[top.size or "nano"], written)
    value = {choice.name: choice.value for choice in choices}
    read = {}
    for stage, config in configs.items():
        settings: dict[str, Json] = {name: value[name] for name in DIAL.get(stage, ())}
        if "seed" in config.model_fields:
            settings["seed"] = zlib.crc32(f"{top.seed}/{stage}".encode())
        read[stage] = _checked(config, settings | _section(given, stage), origin, stage)
    return Recipe(origin, given, read, choices)


def _section(given: Mapping[str, Json], stage: str) -> dict[str, Json]:
    section = given.get(stage, {})
    return section if isinstance(section, dict) else {}


def _overridden(given: Mapping[str, Json], origin: str, overrides: Iterable[str]) -> dict[str, Json]:
    """A copy of the tree with each `stage.key=value` set; a value that is not TOML is text.

    Who turns the dial wants another size: what the recipe fitted to its own gives way, not what is set beside it.
    """
    tree: dict[str, Json] = json.loads(json.dumps(given, default=str))
    split = [_split(override) for override in overrides]
    if any(sections == [] and key in ("size", "depth") for _, sections, key, _ in split):
        for stage, keys in FITTED.items():
            for key in keys:
                _section(tree, stage).pop(key, None)
    for override, sections, key, text in split:
        place: Any = tree
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise RecipeError(f"--set {override}: {section} is a value in recipe {origin}, not a section")
        if key in ("size", "depth") and not sections:
            tree.pop("depth" if key == "size" else "size", None)  # one dial: the later word holds
        place[key] = _value(text)
    return tree


def _split(override: str) -> tuple[str, list[str], str, str]:
    """The override itself, the sections on the way, the key and the text after it."""
    dotted, equals, text = override.partition("=")
    *sections, key = [part.strip() for part in dotted.split(".")]
    if not equals or not key:
        raise RecipeError(f"--set {override}: write it as stage.key=value, as in --set pretrain.depth=6")
    return override, sections, key, text.strip()


def _value(text: str) -> Json:
    try:
        value: Json = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, (bool, int, float, str, list, dict)) else text


def _checked(
    model: type[Settings],
    values: Mapping[str, Json],
    origin: str,
    stage: str | None = None,
    also: Iterable[str] = (),
) -> Settings:
    """The settings, or an error that names each wrong key; `also` are names allowed beside the model's."""
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        where = f"recipe {origin}, [{stage}]" if stage else f"recipe {origin}"
        lines = [f"{where}: {_explain(one, model, tuple(also))}" for one in error.errors()]
        raise RecipeError("\n".join(lines)) from None


def _explain(error: ErrorDetails, model: type[Frozen], also: Sequence[str]) -> str:
    """One of pydantic's errors in the recipe's words."""
    place = error["loc"]
    key = ".".join(str(part) for part in place)
    if error["type"] == "extra_forbidden":
        allowed = [*_keys(model, place[:-1]), *also]
        if near := nearest(str(place[-1]), allowed):
            return f"unknown key '{key}'. Did you mean '{'.'.join(map(str, [*place[:-1], near]))}'?"
        return f"unknown key '{key}'. Allowed: {', '.join(allowed)}"
    if error["type"] == "missing":
        return f"'{key}' must be set"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{key} = {error['input']!r}: {message}" if place else message


def _keys(model: type[Frozen], place: tuple[int | str, ...]) -> list[str]:
    """The keys of the settings at a place inside the model."""
    for part in place:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, Frozen)):
            return []
        model = annotation
    return list(model.model_fields)


def keys_of(model: type[Frozen], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every key with its default and what it is for; those of settings inside of settings with a dot."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Frozen):
            yield from keys_of(inner, f"{prefix}{name}.")
        else:
            default = "required" if field.is_required() else repr(field.get_default(call_default_factory=True))
            yield f"{prefix}{name}", default, field.description or ""


def nearest(wrong: str, allowed: Sequence[str]) -> str | None:
    """The allowed name that was most likely meant: by its initials ('lr'), by likeness, by how it begins."""
    for name in allowed:
        if wrong.lower() in ("".join(word[0] for word in name.split("_") if word), name.replace("_", "")):
            return name
    alike = difflib.get_close_matches(wrong.lower(), allowed, n=1, cutoff=0.6)
    starts = [name for name in allowed if name.startswith(wrong.lower()) or wrong.lower() in name.split("_")]
    return next(iter([*alike, *starts]), None)
