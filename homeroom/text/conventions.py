"""What a tokenizer's folder says beside tokenizer.json: names of special tokens, chat template, what ends generation.

It reads Hugging Face's files (tokenizer_config.json, special_tokens_map.json, generation_config.json, config.json,
chat_template.jinja) and writes them again. What the names are used for is tokenizer.py's business.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from homeroom.files import write_atomically
from homeroom.text.errors import TokenizerError

# What a template is given by name, as `transformers` does it.
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_LISTS = ("additional_special_tokens", "extra_special_tokens")
# A folder is written for the general class, which takes tokenizer.json as it is: the classes of single models build
# their own pre-tokenizer since transformers 5. What is said in tokenizer.json is not said twice.
_NOT_WRITTEN = ("auto_map", "added_tokens_decoder", "name_or_path", "tokenizer_file", "special_tokens_map_file")


@dataclass(frozen=True, kw_only=True)
class Conventions:
    names: Mapping[str, str]
    chat_template: str | None = None
    more_special: tuple[str, ...] = ()
    # Of generation_config.json and config.json, for tokenizers that name no token.
    end_ids: frozenset[int] = frozenset()
    bos_id: int | None = None
    pad_id: int | None = None
    adds_bos: bool | None = None  # None: tokenizer.json alone says it
    config: Mapping[str, Any] = field(default_factory=dict)  # tokenizer_config.json
    generation: Mapping[str, Any] = field(default_factory=dict)  # generation_config.json

    @classmethod
    def read(cls, folder: Path) -> "Conventions":
        config = _json(folder / "tokenizer_config.json")
        both = _json(folder / "special_tokens_map.json") | config
        generation, model = _json(folder / "generation_config.json"), _json(folder / "config.json")
        names = {name: content for name in NAMES if (content := _content(both.get(name)))}
        more: list[str] = []
        for key in _LISTS:
            given = both.get(key) or []
            if isinstance(given, dict):  # tokens with names of their own
                names |= {name: content for name, token in given.items() if (content := _content(token))}
            else:
                more += (content for token in given if (content := _content(token)))
        adds_bos = config.get("add_bos_token")
        return cls(
            names=names,
            chat_template=_chat_template(folder, config),
            more_special=tuple(more),
            end_ids=_ids(generation.get("eos_token_id")) | _ids(model.get("eos_token_id")),
            bos_id=_first_id(generation, model, "bos_token_id"),
            pad_id=_first_id(generation, model, "pad_token_id"),
            adds_bos=adds_bos if isinstance(adds_bos, bool) else None,
            config=config,
            generation=generation,
        )

    def write(self, folder: Path, end_ids: frozenset[int]) -> None:
        config = {key: value for key, value in self.config.items() if key not in _NOT_WRITTEN}
        config |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **self.names}
        if self.more_special and not any(config.get(key) for key in _LISTS):
            config["additional_special_tokens"] = list(self.more_special)
        config.pop("chat_template", None)
        if self.chat_template is not None:
            config["chat_template"] = self.chat_template
        write_json(folder / "tokenizer_config.json", config)
        ids = {"bos_token_id": self.bos_id, "pad_token_id": self.pad_id}
        generation = {**self.generation, **{key: value for key, value in ids.items() if value is not None}}
        if {"temperature", "top_p", "top_k"} & generation.keys():  # transformers ignores them without
            generation.setdefault("do_sample", True)
        write_json(folder / "generation_config.json", generation | {"eos_token_id": sorted(end_ids)})


def write_json(path: Path, content: object) -> None:
    write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise TokenizerError(f"{path}: damaged ({error}). Fetch it again.") from error
    if not isinstance(content, dict):
        raise TokenizerError(f"{path}: holds {type(content).__name__}, should be an object. Fetch it again.")
    return content


def _content(token: object) -> str | None:
    """A token is written as text or as an object with its content; null is none."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) and found else None


def _ids(given: object) -> frozenset[int]:
    several = given if isinstance(given, list) else [given]
    return frozenset(one for one in several if isinstance(one, int))


def _first_id(generation: Mapping[str, Any], model: Mapping[str, Any], key: str) -> int | None:
    return next((given for source in (generation, model) if isinstance(given := source.get(key), int)), None)


def _chat_template(folder: Path, config: Mapping[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text("utf-8")
    given = config.get("chat_template")
    if isinstance(given, list):  # several with names; the others are for tools and retrieval
        given = {one.get("name"): one.get("template") for one in given if isinstance(one, dict)}.get("default")
    return given if isinstance(given, str) else None
