import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from homeroom.settings import Frozen, Probability, as_json


class Inner(Frozen):
    width: int = 64


class Settings(Frozen):
    steps: int = 3
    rate: float = 0.1
    share: Probability = 0.5
    on: bool = False
    name: str = "a"
    folder: Path = Path("x")
    sizes: tuple[int, ...] = (1,)
    weights: dict[str, float] = Field(default_factory=dict)
    seed: int | None = None
    inner: Inner = Inner()


def test_what_toml_can_say_is_read() -> None:
    settings = Settings.model_validate(
        {"steps": 1e3, "rate": 1, "folder": "texts", "sizes": [1, 2], "weights": {"a": 1}, "inner": {"width": 8}}
    )
    assert settings == Settings(
        steps=1000, rate=1.0, folder=Path("texts"), sizes=(1, 2), weights={"a": 1.0}, inner=Inner(width=8)
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": "3"}, "'3' is text, allowed here is a number"),
        ({"steps": True}, "True is true or false, allowed here is a number"),
        ({"steps": 1.5}, "valid integer"),
        ({"on": 1}, "1 is a number, allowed here is true or false"),
        ({"on": "yes"}, "'yes' is text"),
        ({"name": 3}, "valid string"),
        ({"share": 1.5}, "less than or equal to 1"),
        ({"rate": float("inf")}, "finite number"),
        ({"sizes": [1, "2"]}, "'2' is text"),
        ({"weights": {"a": "1"}}, "'1' is text"),
        ({"inner": {"width": "8"}}, "'8' is text"),
        ({"inner": {"height": 8}}, "Extra inputs"),
        ({"step": 3}, "Extra inputs"),
    ],
)
def test_what_is_wrong_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings.model_validate(given)


class Innermost(Frozen):
    steps: int = 1
    rate: float = 0.5


class Middle(Frozen):
    inner: Innermost = Innermost()
    name: str = "middle"


class Outer(Frozen):
    middle: Middle = Middle(inner=Innermost(steps=7), name="outer")


@pytest.mark.parametrize(
    ("values", "steps", "rate", "name"),
    [
        ({}, 7, 0.5, "outer"),
        ({"middle": {"inner": {"rate": 0.1}}}, 7, 0.1, "outer"),
        ({"middle": {"name": "set"}}, 7, 0.5, "set"),
        ({"middle": {"inner": {"steps": 2}}}, 2, 0.5, "outer"),
        ({"middle": Middle()}, 1, 0.5, "middle"),
    ],
)
def test_what_is_set_of_a_group_leaves_its_other_defaults(values, steps, rate, name) -> None:
    read = Outer.model_validate(values).middle
    assert (read.inner.steps, read.inner.rate, read.name) == (steps, rate, name)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().steps = 4


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_anything_like_json_becomes_json(value: Any) -> None:
    text = json.dumps(as_json(value), allow_nan=False)
    assert as_json(json.loads(text)) == as_json(value)


def test_scalars_of_other_libraries_become_numbers() -> None:
    assert as_json({"a": np.float64(0.5), "b": np.array(3), "c": (np.float32("nan"),)}) == {
        "a": 0.5,
        "b": 3,
        "c": [None],
    }
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        as_json({1, 2})
