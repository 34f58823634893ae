"""What every room may import: the base of all settings, common types, and the error meant for users.

Which settings there are is each room's business; reading TOML and naming the nearest key is the recipe's.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic
from pydantic import ConfigDict, Field, JsonValue

Json = JsonValue
Number = int | float
Probability = Annotated[float, Field(ge=0, le=1)]
_SURROGATE = re.compile("[\ud800-\udfff]")


class HomeroomError(Exception):
    """An error that its message explains completely; the command line prints only that, and exits 1."""


class NothingToLearn(HomeroomError):
    """A stage has too little to learn from. The stage alone ends with it; `homeroom run` tells it and goes on."""


class Frozen(pydantic.BaseModel):
    """Settings that cannot change once made: an unknown key is an error, and nothing is guessed from text.

    Neither pydantic's lax nor its strict mode fits. Lax reads "3" as 3 and 1 as True; strict refuses what TOML
    has to write differently, a list for a tuple or a string for a Path. So: lax, but numbers, truth values and
    text stay apart.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True, protected_namespaces=()
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, given: object) -> object:
        """What is set of a group leaves the rest of it as this class has it, not as the group's own class would."""
        if not isinstance(given, Mapping):
            return given
        groups = {name: field.default for name, field in cls.model_fields.items() if isinstance(field.default, Frozen)}
        laid = {
            name: _laid_over(group.model_dump(), given[name])
            for name, group in groups.items()
            if isinstance(given.get(name), Mapping)
        }
        return {**given, **laid}

    @pydantic.field_validator("*", mode="wrap")
    @classmethod
    def _keep_kind(cls, value: object, handler: pydantic.ValidatorFunctionWrapHandler) -> object:
        result = handler(value)
        _check_kind(value, result)
        return result


def _laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        name: _laid_over(under[name], value)
        if isinstance(value, Mapping) and isinstance(under.get(name), Mapping)
        else value
        for name, value in over.items()
    }
    return {**under, **both}


def _check_kind(given: object, read: object) -> None:
    if isinstance(given, (list, tuple)) and isinstance(read, (list, tuple)):
        for one_given, one_read in zip(given, read, strict=False):
            _check_kind(one_given, one_read)
    elif isinstance(given, dict) and isinstance(read, dict):
        for one_given, one_read in zip(given.values(), read.values(), strict=False):
            _check_kind(one_given, one_read)
    elif _scalar_kind(given) and _scalar_kind(read) and _scalar_kind(given) != _scalar_kind(read):
        raise ValueError(f"{given!r} is {_scalar_kind(given)}, allowed here is {_scalar_kind(read)}")


def _scalar_kind(value: object) -> str | None:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    return "text" if isinstance(value, str) else None


def as_json(value: object) -> Json:
    """A figure as JSON can hold it: a NumPy or torch scalar becomes a number, and NaN or infinity null."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if callable(item := getattr(value, "item", None)):  # raises where there is more than one number
        return as_json(item())
    raise TypeError(f"{value!r} ({type(value).__name__}) cannot be written as JSON")


def whole_characters(text: str) -> str:
    """JSON can carry half of a surrogate pair, which is no Unicode text: no database and no parquet can hold it."""
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def value_at(metrics: Json | Mapping[str, Json], *path: str) -> Json:
    """What lies at the path inside of metrics, None where it does not lead anywhere."""
    value: object = metrics
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value  # type: ignore[return-value]


def number_at(metrics: Json | Mapping[str, Json], *path: str) -> Number | None:
    value = value_at(metrics, *path)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def rows_at(metrics: Json | Mapping[str, Json], *path: str) -> list[dict[str, Json]]:
    """The list of tables at the path, empty where there is none."""
    value = value_at(metrics, *path)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
