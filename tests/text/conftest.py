"""Small tokenizers: one of Homeroom's own, and one of each kind that open checkpoints bring, with chat templates of the
same structure. Saved by `transformers`, as a download would be."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from homeroom.text.token_bytes import BYTE_TOKENS
from homeroom.text.tokenizer import Tokenizer

TEXTS = 3 * [
    "画蛇添足的意思是多此一举。画蛇添足是什么意思？用Python写一个函数。",
    "What does the Python function json.dumps do? It serializes an object to a JSON string.",
    "def area(width, height):\n    return width * height  # 2026\n",
    "It's 12345 o'clock; they're late. ÉTÉ, naïve, Ünïcode, Привет, こんにちは 🙂",
]

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace("{1,3}", "")

CHATML = (
    "{% for m in messages %}"
    "{% if loop.first and m.role != 'system' and DEFAULT %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
THINKING = """{%- set ns = namespace(last=-1) %}
{%- for m in messages %}
    {%- if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}
{%- endfor %}
{%- for m in messages %}
    {{- '<|im_start|>' + m.role + '\\n' }}
    {%- if m.role == 'assistant' and loop.index0 > ns.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{% endif %}
    {{- m.content.split('</think>')[-1].lstrip('\\n') + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}
"""
HEADERS = """{{- bos_token }}
{%- for m in messages %}
    {{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + m['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
INSTRUCTIONS = """{% set told = '' %}
{% if messages and messages[0]['role'] == 'system' %}
    {% set told = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}
    {% set messages = messages[1:] %}
{% endif %}
{% for m in messages %}
    {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('First the user, then the assistant, in turns!') }}
    {%- endif %}
    {%- if m['role'] == 'user' %}
        {{- bos_token + OPEN + (told if loop.first else '') + m['content'].strip() + CLOSE }}
    {%- else %}
        {{- ' ' + m['content'].strip() + ' ' + eos_token }}
    {%- endif %}
{%- endfor %}"""


@dataclass(frozen=True)
class Kind:
    special: tuple[str, ...]
    names: dict[str, str]
    pre: Any
    template: str | None = None
    plain: tuple[str, ...] = ()  # added tokens that are not special
    ends: tuple[str, ...] = ()
    fallback: bool = False
    adds_bos: bool = False
    normalizer: Any = None


def _split(pattern: str) -> Any:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


_IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_HEADERS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
)
_S = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
KINDS = {
    "gpt2": Kind(_IM[:1], {"bos_token": _IM[0], "eos_token": _IM[0]}, _BYTES),
    "smollm2": Kind(
        _IM,
        {"bos_token": _IM[1], "eos_token": _IM[2], "unk_token": _IM[0], "pad_token": _IM[2]},
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _BYTES]),
        CHATML.replace("DEFAULT", "true"),
    ),
    "qwen2": Kind(
        _IM,
        {"eos_token": _IM[2], "pad_token": _IM[0]},
        _split(QWEN2_SPLIT),
        THINKING,
        plain=("<think>", "</think>"),
        ends=(_IM[2], _IM[0]),
        normalizer=normalizers.NFC(),
    ),
    "llama3": Kind(
        _HEADERS,
        {"bos_token": _HEADERS[0], "eos_token": "<|eot_id|>"},
        _split(LLAMA3_SPLIT),
        HEADERS,
        ends=(_HEADERS[1], "<|eom_id|>", "<|eot_id|>"),
        adds_bos=True,
    ),
    "llama2": Kind(
        ("<unk>", "<s>", "</s>"),
        _S,
        None,
        INSTRUCTIONS.replace("OPEN", "'[INST] '").replace("CLOSE", "' [/INST]'"),
        fallback=True,
        adds_bos=True,
        normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
    ),
    "mistral": Kind(
        ("<unk>", "<s>", "</s>", "[INST]", "[/INST]"),
        _S,
        pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
        INSTRUCTIONS.replace("OPEN", "'[INST]'").replace("CLOSE", "'[/INST]'"),
        fallback=True,
        adds_bos=True,
    ),
}


def _backend(kind: Kind) -> tokenizers.Tokenizer:
    if not kind.fallback:
        backend = tokenizers.Tokenizer(models.BPE())
        backend.normalizer, backend.pre_tokenizer, backend.decoder = kind.normalizer, kind.pre, decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        first: tuple[str, ...] = ()
    else:
        backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        backend.pre_tokenizer = pre_tokenizers.Metaspace()
        alphabet, first = [], (*kind.special, *BYTE_TOKENS)
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=alphabet, special_tokens=[*first], show_progress=False
    )
    backend.train_from_iterator(TEXTS[:3] if kind.fallback else TEXTS, trainer)
    if kind.fallback:
        whole = json.loads(backend.to_str())
        whole["added_tokens"] = []  # bytes are ordinary tokens
        backend = tokenizers.Tokenizer.from_str(json.dumps(whole))
        backend.normalizer, backend.pre_tokenizer = kind.normalizer, kind.pre
        backend.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in kind.special])
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in kind.plain])
    if kind.adds_bos:
        bos = kind.names["bos_token"]
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, backend.token_to_id(bos))]
        )
    return backend


@pytest.fixture(scope="session")
def download(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a kind of tokenizer, as its publisher would have made it."""
    made: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in made:
            kind, folder = KINDS[name], tmp_path_factory.mktemp(name)
            backend = _backend(kind)
            fast = PreTrainedTokenizerFast(tokenizer_object=backend, **kind.names)
            fast.chat_template = kind.template
            fast.save_pretrained(folder)
            if kind.ends:
                ends = [backend.token_to_id(token) for token in kind.ends]
                (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends, "top_p": 0.9}))
            made[name] = folder
        return made[name]

    return folder_of


@pytest.fixture(scope="session", params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def foreign(download: Callable[[str], Path], name: str) -> Tokenizer:
    return Tokenizer.load(download(name))


@pytest.fixture(scope="session")
def theirs(download: Callable[[str], Path], name: str) -> Any:
    return AutoTokenizer.from_pretrained(download(name))


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return TEXTS


@pytest.fixture(scope="session")
def tokenizer(texts: list[str]) -> Tokenizer:
    return Tokenizer.train(texts, vocab_size=400)


@pytest.fixture(scope="session")
def saved(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(folder)
    return folder
