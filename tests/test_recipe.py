"""Recipes: what is derived, what is kept, and that every mistake names its key and what is allowed."""

import contextlib
import json
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, PositiveFloat, PositiveInt

from homeroom import recipe as recipes
from homeroom.recipe import Recipe, RecipeError, nearest, resolve
from homeroom.settings import Frozen


class Tokenize(Frozen):
    vocab_size: PositiveInt


class Loop(Frozen):
    clip_norm: PositiveFloat = 1.0


class Pretrain(Frozen):
    depth: PositiveInt
    width: PositiveInt
    heads: PositiveInt
    max_length: PositiveInt
    tokens: PositiveInt
    batch_tokens: PositiveInt
    learning_rate: PositiveFloat
    schedule: Literal["wsd", "cosine"] = "wsd"
    betas: tuple[float, float] = (0.9, 0.95)
    loop: Loop = Loop()
    seed: int = 0


class Judge(Frozen):
    seed: int = 0
    folder: Path = Path("here")
    share: float = Field(0.5, ge=0, le=1)


CONFIGS: dict[str, type[Frozen]] = {"tokenize": Tokenize, "pretrain": Pretrain, "judge": Judge}


def read(toml_tree: dict[str, object], *overrides: str) -> Recipe:
    return resolve(json.loads(json.dumps(toml_tree)), "starter.toml", CONFIGS, overrides)


def complaint(toml_tree: dict[str, object], *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        read(toml_tree, *overrides)
    return str(caught.value)


def pretrain(recipe: Recipe) -> Pretrain:
    config = recipe.configs["pretrain"]
    assert isinstance(config, Pretrain)
    return config


def test_size_derives_the_shape() -> None:
    config = pretrain(read({"size": "nano"}))
    assert (config.depth, config.width, config.heads, config.max_length) == (4, 256, 4, 256)
    assert read({"size": "nano"}).configs["tokenize"] == Tokenize(vocab_size=6144)
    assert read({}).configs == read({"size": "nano"}).configs


def test_a_value_that_is_set_is_kept_and_the_rest_follows_from_it() -> None:
    config = pretrain(read({"size": "nano"}, "pretrain.depth=6", "pretrain.heads=3"))
    assert (config.depth, config.width, config.heads) == (6, 384, 3)
    fewer = pretrain(read({"size": "nano", "pretrain": {"tokens": 2_000_000}}))
    assert fewer.tokens == 2_000_000
    assert fewer.batch_tokens < pretrain(read({})).batch_tokens
    assert fewer.learning_rate > pretrain(read({})).learning_rate


def test_whoever_turns_the_dial_gets_its_size_and_not_the_one_that_the_recipe_was_fitted_to() -> None:
    fitted: dict[str, object] = {"size": "nano", "pretrain": {"width": 96, "tokens": 10, "schedule": "cosine"}}
    turned = pretrain(read(fitted, "pretrain.heads=2", "size=micro"))
    plain = pretrain(read({"size": "micro"}))
    assert (turned.depth, turned.width, turned.tokens) == (plain.depth, plain.width, plain.tokens)
    assert turned.heads == 2  # what is set beside the dial is meant
    assert turned.schedule == "cosine"  # and what has nothing to do with size stays
    assert pretrain(read(fitted, "pretrain.depth=6")).width == 96


def test_an_override_is_laid_over_the_file_and_the_last_one_wins() -> None:
    recipe = read({"pretrain": {"schedule": "wsd"}}, "pretrain.schedule=cosine", "pretrain.loop.clip_norm=0.5")
    assert pretrain(recipe).schedule == "cosine"
    assert pretrain(recipe).loop.clip_norm == 0.5
    assert pretrain(read({}, "pretrain.tokens=1", "pretrain.tokens=2")).tokens == 2
    assert pretrain(read({}, "pretrain.betas=[0.8, 0.9]")).betas == (0.8, 0.9)
    assert pretrain(read({"size": "nano"}, "depth=6")).depth == 6


def test_every_stage_has_its_own_seed() -> None:
    def seeds(recipe: Recipe) -> list[object]:
        return [config.model_dump()["seed"] for name, config in recipe.configs.items() if name != "tokenize"]

    first = seeds(read({"seed": 1}))
    assert len(set(first)) == 2
    assert seeds(read({"seed": 1})) == first != seeds(read({"seed": 2}))
    assert seeds(read({"judge": {"seed": 7}}))[1] == 7


@pytest.mark.parametrize(
    ("toml_tree", "expected"),
    [
        (
            {"pretrain": {"lr": 1}},
            "recipe starter.toml, [pretrain]: unknown key 'lr'. Did you mean 'learning_rate'?",
        ),
        (
            {"pretrain": {"token": 1}},
            "recipe starter.toml, [pretrain]: unknown key 'token'. Did you mean 'tokens'?",
        ),
        ({"pretran": {}}, "recipe starter.toml: unknown key 'pretran'. Did you mean 'pretrain'?"),
        ({"sead": 1}, "recipe starter.toml: unknown key 'sead'. Did you mean 'seed'?"),
        (
            {"pretrain": {"loop": {"clip": 1}}},
            "recipe starter.toml, [pretrain]: unknown key 'loop.clip'. Did you mean 'loop.clip_norm'?",
        ),
        (
            {"judge": {"zzz": 1}},
            "recipe starter.toml, [judge]: unknown key 'zzz'. Allowed: seed, folder, share",
        ),
        (
            {"pretrain": {"schedule": "linear"}},
            "recipe starter.toml, [pretrain]: schedule = 'linear': must be 'wsd' or 'cosine'",
        ),
        (
            {"pretrain": {"learning_rate": -1}},
            "recipe starter.toml, [pretrain]: learning_rate = -1: must be greater than 0",
        ),
        (
            {"judge": {"share": 2}},
            "recipe starter.toml, [judge]: share = 2: must be less than or equal to 1",
        ),
        ({"pretrain": 3}, "recipe starter.toml: pretrain = 3: must be a section, [pretrain]"),
        (
            {"size": "tiny"},
            "recipe starter.toml: size = 'tiny': allowed is one of nano, micro, mini, small, medium, large, huge",
        ),
        ({"size": "nano", "depth": 4}, "recipe starter.toml: size = 'nano' and depth = 4 both set; keep one"),
    ],
)
def test_a_mistake_is_named(toml_tree: dict[str, object], expected: str) -> None:
    assert complaint(toml_tree) == expected


def test_a_number_written_as_text_is_refused() -> None:
    assert complaint({"pretrain": {"depth": "six"}}).startswith(
        "recipe starter.toml, [pretrain]: depth = 'six': must be a valid integer"
    )


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("ppo.optimizer=sgd", "[ppo]: optimizer = 'sgd': must be 'muon' or 'adamw'"),
        ("sft.precision=float16", "[sft]: precision = 'float16': must be 'auto', 'float32' or 'bfloat16'"),
        ("pretrain.style=bert", "[pretrain]: style = 'bert': must be 'llama' or 'gpt2'"),
        ("pretrain.heads=5", "[pretrain]: width 192 does not divide into 5 heads"),
        (
            "sft.mix.dialog=0.2",
            "[sft]: mix = {'dialog': 0.2}: there is no kind of question 'dialog'; the kinds are "
            "idiom-meaning, idiom-source, idiom-example, idiom-name, idiom-character, idiom-length, "
            "idiom-pronunciation, idiom-initials, idiom-character-english, idiom-length-english, function-purpose, "
            "function-arguments, function-module, dialogue",
        ),
        ("ppo.mix.dialogue=-1", "[ppo]: mix.dialogue = -1: must be greater than or equal to 0"),
        ("pretrain.clip=1", "[pretrain]: unknown key 'clip'. Did you mean 'gradient_clip'?"),
    ],
)
def test_the_stages_say_what_is_allowed(override: str, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipes.load(Path(__file__).parents[1] / "recipes" / "starter.toml", [override])
    assert str(caught.value) == f"recipe starter.toml, {expected}"


@pytest.mark.parametrize("stage", ["sft", "ppo", "rankings"])
def test_one_kinds_weight_is_laid_over_the_mix(stage: str) -> None:
    starter = Path(__file__).parents[1] / "recipes" / "starter.toml"
    before, after = (
        recipes.load(starter, given).configs[stage].model_dump()["mix"]
        for given in ([], [f"{stage}.mix.dialogue=0.5", f"{stage}.mix.idiom-name=0"])
    )
    assert after == before | {"dialogue": 0.5, "idiom-name": 0}


def test_every_mistake_is_told_at_once() -> None:
    assert complaint({"judge": {"sed": 1, "share": 3}}).count("\n") == 1


@pytest.mark.parametrize("override", ["pretrain.depth", "=3", "pretrain.=3"])
def test_an_override_that_sets_nothing_says_how_to_write_one(override: str) -> None:
    assert "write it as stage.key=value" in complaint({}, override)


def test_an_override_below_a_value_is_refused() -> None:
    assert "seed is a value" in complaint({"seed": 1}, "seed.deeper=1")


@given(st.dictionaries(st.sampled_from([*CONFIGS, "size", "seed", "x"]), st.integers() | st.text() | st.none()))
def test_no_tree_ends_in_anything_but_a_recipe_or_its_error(toml_tree: dict[str, object]) -> None:
    with contextlib.suppress(RecipeError):
        assert read(toml_tree).configs.keys() == CONFIGS.keys()


def test_the_stored_recipe_reads_as_the_same_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "stage_configs", lambda: CONFIGS)
    recipe = read({"size": "micro", "judge": {"folder": "there"}}, "pretrain.heads=2")
    again = recipes.load(recipe.save(tmp_path))
    assert again.configs == recipe.configs
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.json"]


@pytest.mark.parametrize("stored", ['{"given": [1]}', '{"given": null}', "[]", "{", "null"])
def test_a_damaged_stored_recipe_is_named(tmp_path: Path, stored: str) -> None:
    (tmp_path / "recipe.json").write_text(stored)
    with pytest.raises(RecipeError, match=r"recipe\.json"):
        recipes.load(tmp_path / "recipe.json")


def test_what_was_derived_says_why() -> None:
    why = {choice.name: choice.why for choice in read({"pretrain": {"heads": 2}}).derived()}
    assert why["heads"] == "set in the recipe"
    assert why["width"] == "64 × depth"
    assert {"parameters", "flops_per_token", "training_flops"} <= why.keys()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"size = ", "Invalid value"),
        (b"\xff\xfe", "cannot be read as text"),
        (b"[pretrain\n", "line 1"),
    ],
)
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"broken\.toml: ") as caught:
        recipes.load(path)
    assert expected in str(caught.value)


def test_a_missing_file_lists_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.toml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"no such file\. Here are: recipes/mine\.toml"):
        recipes.load(Path("starter.toml"))


def test_keys_of_settings_inside_of_settings_are_listed_with_a_dot() -> None:
    listed = {name: default for name, default, _ in recipes.keys_of(Pretrain)}
    assert listed["loop.clip_norm"] == "1.0"
    assert listed["depth"] == "required"
    assert "loop" not in listed


def test_nearest_knows_initials_likeness_and_beginnings() -> None:
    names = ["learning_rate", "batch_tokens", "max_length"]
    assert nearest("lr", names) == "learning_rate"
    assert nearest("batch", names) == "batch_tokens"
    assert nearest("max_lenght", names) == "max_length"
    assert nearest("q", names) is None
