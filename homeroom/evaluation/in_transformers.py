"""An exported model in the hands of another program: `transformers`, which reads a Hugging Face folder or a GGUF file.

It is an optional part (`pip install 'homeroom[export]'`). What it is compared with is portability.py's business.
Shapes: B batch, T time, V vocabulary.
"""

import contextlib
import importlib.metadata
import importlib.util
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
import torch
from torch import Tensor

from homeroom.models.formats import gguf_file
from homeroom.settings import HomeroomError
from homeroom.text.gguf_tokenizer import JSON

OLDEST = (4, 57)
_NAMES = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


class CannotLoad(HomeroomError):
    """`transformers` does not load what was exported."""


def version() -> str:
    """Of transformers. Raises HomeroomError where it is not installed, or too old to be asked."""
    for part in ("transformers", "accelerate"):  # without the second it reads no GGUF
        if importlib.util.find_spec(part) is None:
            raise HomeroomError(_advice(f"{part} is not installed"))
    found = importlib.metadata.version("transformers")
    if tuple(int(number) for number in found.split(".")[:2]) < OLDEST:
        raise HomeroomError(_advice(f"transformers {found} is too old"))
    return found


def _advice(lacking: str) -> str:
    return (
        f"{lacking}, which proves that an exported model answers elsewhere as it answers here. "
        "Run `pip install 'homeroom[export]'`, or export without a proof: --no-proof."
    )


class InTransformers:
    """`told` are the settings that transformers did not read out of the file and had to be told."""

    def __init__(self, model: Any, tokenizer: Any, told: Sequence[str] = ()) -> None:
        self._model, self._tokenizer, self.told = model.eval(), tokenizer, tuple(told)

    @classmethod
    def folder(cls, folder: Path) -> "InTransformers":
        from transformers import AutoModelForCausalLM, AutoTokenizer

        with _loading(folder):
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
            )
            return cls(model, AutoTokenizer.from_pretrained(folder, local_files_only=True))

    @classmethod
    def gguf(cls, path: Path, metadata: Mapping[str, object]) -> "InTransformers":
        """With the tokenizer.json that the file holds: transformers' own conversion ignores `tokenizer.ggml.pre`."""
        from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

        with _loading(path):
            config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
            told = _tell(config, gguf_file.read(path).settings)
            model = AutoModelForCausalLM.from_pretrained(
                path.parent, gguf_file=path.name, config=config, dtype=torch.float32, local_files_only=True
            )
            tokens: Any = metadata["tokenizer.ggml.tokens"]
            ids = {name: metadata.get(f"tokenizer.ggml.{key}_token_id") for name, key in _NAMES.items()}
            tokenizer = PreTrainedTokenizerFast(
                tokenizer_object=tokenizers.Tokenizer.from_str(str(metadata[JSON])),
                chat_template=metadata.get("tokenizer.chat_template"),
                **{name: tokens[at] for name, at in ids.items() if isinstance(at, int)},
            )
            return cls(model, tokenizer, told)

    @property
    def end_ids(self) -> frozenset[int]:
        """What ends generation there."""
        said = self._model.generation_config.eos_token_id
        return frozenset(said if isinstance(said, list) else [said] if said is not None else [])

    def text_ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text)["input_ids"]
        return ids

    def conversation_ids(self, messages: Sequence[Mapping[str, str]]) -> list[int] | None:
        """None where the template refuses."""
        from jinja2 import TemplateError

        if self._tokenizer.chat_template is None:
            return None
        try:
            written = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages], add_generation_prompt=True, return_dict=True
            )
        except TemplateError:
            return None
        ids: list[int] = written["input_ids"]
        return ids

    def spelled(self, token_id: int) -> str:
        return str(self._tokenizer.convert_ids_to_tokens(token_id))

    @torch.inference_mode()
    def continuations(self, rows: Sequence[Sequence[int]], most: int, end_ids: frozenset[int]) -> list[list[int]]:
        """Greedy, whatever sampling the model's publisher recommends; with its end token, as the engine gives it.

        Several rows are padded on the left, which moves their sums by a rounding.
        """
        from transformers import GenerationConfig

        pad = min(end_ids)
        greedy = GenerationConfig(do_sample=False, max_new_tokens=most, eos_token_id=sorted(end_ids), pad_token_id=pad)
        T = max(map(len, rows))
        tokens_BT = torch.tensor([[pad] * (T - len(row)) + list(row) for row in rows])
        mask_BT = torch.tensor([[0] * (T - len(row)) + [1] * len(row) for row in rows])
        # Defaults that the folder gives would be filled in otherwise: a repetition penalty changes greedy picks too.
        kept, self._model.generation_config = self._model.generation_config, greedy
        try:
            made = self._model.generate(tokens_BT, attention_mask=mask_BT, generation_config=greedy)
        finally:
            self._model.generation_config = kept
        return [_until_end(row, end_ids) for row in made[:, T:].tolist()]

    @torch.inference_mode()
    def logits(self, token_ids: Sequence[int]) -> Tensor:
        """What comes after each token (T, V)."""
        logits_TV: Tensor = self._model(torch.tensor([list(token_ids)])).logits[0]
        return logits_TV


def _until_end(token_ids: list[int], end_ids: frozenset[int]) -> list[int]:
    ends = (place for place, token_id in enumerate(token_ids) if token_id in end_ids)
    return token_ids[: next(ends, len(token_ids)) + 1]


def _tell(config: Any, said: Mapping[str, Any]) -> list[str]:
    """Correct what transformers did not read; the names of that. It knows no rope_freqs.weight, no head of its own
    width, and neither the context nor the inner width of GPT-2."""
    told = []
    for key, value in said.items():
        if not _alike(getattr(config, key, None), value):
            told.append(key)
            setattr(config, key, value)
    return told


def _alike(found: Any, said: Any) -> bool:
    if isinstance(said, dict):
        return isinstance(found, dict) and all(_alike(found.get(key), value) for key, value in said.items())
    if isinstance(said, float):
        return isinstance(found, float) and math.isclose(found, said, rel_tol=1e-6)
    return bool(found == said)


@contextlib.contextmanager
def _loading(path: Path) -> Iterator[None]:
    """Without its bars and notes: what matters of them is compared."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except Exception as error:  # whatever a damaged file leads it to
        raise CannotLoad(f"{path}: transformers {version()} cannot load it ({error!r})") from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
