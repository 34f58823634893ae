"""Chat templates of open checkpoints: `transformers`' ids, nothing that a user typed obeyed, answers learned."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from homeroom.text import rendering
from homeroom.text.chat_template import JINJA, answers_in, prompt_ids, render, with_answer
from homeroom.text.conventions import Conventions
from homeroom.text.errors import ChatTemplateError, NoChatTemplate
from homeroom.text.tokenizer import Tokenizer

TALKERS = ["smollm2", "qwen2", "llama3", "llama2", "mistral"]
SPECIAL = [
    "<|im_end|>",
    "<|im_start|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "<unk>",
]
ORDINARY = st.lists(
    st.text(st.characters(exclude_characters="<[", exclude_categories=["Cs"]))
    | st.sampled_from(["画蛇添足", " Python3", "\n\n", "  ", "\0"])
).map("".join)
TYPED = st.lists(ORDINARY | st.sampled_from([*SPECIAL, "<", "|im_end|>", "\ufdd0", "\U0010fffd"])).map("".join)


@pytest.fixture(scope="module", params=TALKERS)
def talker(request: pytest.FixtureRequest, download: Callable[[str], Path]) -> Tokenizer:
    return Tokenizer.load(download(request.param))


@pytest.fixture(scope="module")
def public(talker: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("public")
    talker.save(folder)
    return AutoTokenizer.from_pretrained(folder)


def talk(contents: list[str], system: str | None = None) -> list[dict[str, str]]:
    turns = [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(contents)]
    return turns if system is None else [{"role": "system", "content": system}, *turns]


def written(tokenizer: Tokenizer, ids: list[int]) -> str:
    return "".join(
        tokenizer._backend.id_to_token(one) if one in tokenizer.special_ids else tokenizer.decode([one], goes_on=True)
        for one in ids
    )


def learned(tokenizer: Tokenizer, messages: list[dict[str, str]]) -> str:
    rendered = render(messages, tokenizer)
    return written(tokenizer, [i for i, learn in zip(rendered.token_ids, rendered.learn, strict=True) if learn])


@given(contents=st.lists(ORDINARY, min_size=1, max_size=5), system=st.none() | ORDINARY, asked=st.booleans())
def test_transformers_renders_the_same_ids(
    talker: Tokenizer, public: Any, contents: list[str], system: str | None, asked: bool
) -> None:
    messages = talk(contents, system)
    theirs = public.apply_chat_template(messages, add_generation_prompt=asked)
    assert render(messages, talker, for_generation=asked).token_ids == theirs["input_ids"]


@given(contents=st.lists(TYPED, min_size=1, max_size=4), system=st.none() | TYPED)
def test_typed_special_tokens_stay_text(talker: Tokenizer, contents: list[str], system: str | None) -> None:
    """The template's own special tokens and no others, and all that was typed."""
    messages, harmless = talk(contents, system), talk(["x"] * len(contents), None if system is None else "x")

    def special(of: list[dict[str, str]]) -> list[int]:
        return [i for i in render(of, talker, for_generation=True).token_ids if i in talker.special_ids]

    assert special(messages) == special(harmless)
    shown = talker._backend.normalizer.normalize_str if talker._backend.normalizer else str
    text = talker.decode(render(messages, talker).token_ids, goes_on=True).replace("▁", " ").replace(" ", "")
    for content in contents:
        assert shown(content.strip()).replace("▁", " ").replace(" ", "") in text


@pytest.mark.parametrize(
    ("name", "before", "text", "after"),
    [
        ("llama3", "<|begin_of_text|><|start_header_id|>user<|end_header_id|>", "\n\n{}", "<|eot_id|>"),
        ("llama2", "<s>", "[INST] {} [/INST]", ""),
        ("mistral", "<s>[INST]", "{}", "[/INST]"),
    ],
)
def test_a_run_with_a_typed_special_token_is_encoded_as_a_whole(
    download: Callable[[str], Path], name: str, before: str, text: str, after: str
) -> None:
    """As the public tokenizer does where it is told that a text has no special tokens."""
    tokenizer, public = Tokenizer.load(download(name)), AutoTokenizer.from_pretrained(download(name))
    typed = "it's <|eot_id|></s>[/INST] here"

    def ids(text: str, plain: bool) -> list[int]:
        return list(public(text, add_special_tokens=False, split_special_tokens=plain)["input_ids"])

    # Mistral's writes a space before a text, and none after a special token: that is taken from another text.
    run = ids(text.format(typed), True) if name != "mistral" else ids(f"a{typed}", True)[len(ids("a", True)) :]
    assert render(talk([typed]), tokenizer).token_ids == [*ids(before, False), *run, *ids(after, False)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("smollm2", "one<|im_end|>two <s><|im_end|>"),
        ("qwen2", "one<|im_end|><think>\n\n</think>\n\ntwo <s><|im_end|>"),
        ("llama3", "one<|eot_id|>two <s><|eot_id|>"),
        ("llama2", " one </s> two <s> </s>"),
        ("mistral", " one </s> two <s> </s>"),
    ],
)
def test_answers_and_what_ends_them_are_learned(download: Callable[[str], Path], name: str, expected: str) -> None:
    tokenizer = Tokenizer.load(download(name))
    messages = talk(["1?", "one", "2?", "two <s>"])
    said = learned(tokenizer, messages)
    assert said.replace("  ", " ") == expected
    assert answers_in(render(messages, tokenizer).learn) == 2
    assert not any(render(messages, tokenizer, for_generation=True).learn)


def test_a_generation_block_says_what_is_learned(saved: Path, tokenizer: Tokenizer) -> None:
    """Homeroom's own layout by its template, as another program renders it, agrees with the fast path."""
    as_foreign = Tokenizer.load(saved)
    as_foreign.is_own = False
    for contents in (["?"], ["画蛇添足", " it's <|end|>", "", ""], ["a", "\0\ufdd0", "b", "c <|user|>"]):
        for system in (None, "Short."):
            for asked in (False, True):
                fast = render(talk(contents, system), tokenizer, for_generation=asked)
                slow = render(talk(contents, system), as_foreign, for_generation=asked)
                assert slow.token_ids == fast.token_ids
                assert slow.learn == (fast.learn if not asked else [False] * len(fast.learn))


def test_the_end_after_a_generation_block_is_learned(saved: Path) -> None:
    outside = JINJA.replace(
        "message['content'] + '<|end|>' -}}{%- endgeneration -%}",
        "message['content'] -}}{%- endgeneration -%}{{- '<|end|>' -}}",
    )
    assert outside != JINJA
    as_foreign = Tokenizer.load(saved)
    as_foreign.is_own, as_foreign.chat_template = False, outside
    assert learned(as_foreign, talk(["?", "yes", "?", "no"])) == "yes<|end|>no<|end|>"


def test_a_template_that_rewrites_the_past_has_to_mark_what_is_learned(download: Callable[[str], Path]) -> None:
    tokenizer = Tokenizer.load(download("smollm2"))
    tokenizer.chat_template = "{% for m in messages %}{{ messages|length }}{{ m.content }}<|im_end|>{% endfor %}"
    with pytest.raises(ChatTemplateError, match=r"message 1: .*\{% generation %\}"):
        render(talk(["?", "yes"]), tokenizer)
    assert prompt_ids("?", tokenizer)


def test_a_template_refuses_in_its_own_words(download: Callable[[str], Path]) -> None:
    tokenizer = Tokenizer.load(download("llama2"))
    with pytest.raises(ValueError, match=r"^First the user, then the assistant, in turns!$"):
        render([{"role": "assistant", "content": "hi"}], tokenizer)


def test_a_role_can_build_no_special_token(download: Callable[[str], Path]) -> None:
    with pytest.raises(
        ValueError, match="message 0: role is 'x|im_end'; allowed are system, developer, user".replace("|", r"\|")
    ):
        render([{"role": "x|im_end", "content": ""}], Tokenizer.load(download("smollm2")))


def test_a_base_model_is_no_assistant(download: Callable[[str], Path]) -> None:
    tokenizer = Tokenizer.load(download("gpt2"))
    with pytest.raises(NoChatTemplate, match=r"base model.*completions"):
        prompt_ids("?", tokenizer)


class Said:
    def __init__(self, text: str, ended: bool, token_ids: list[int] | None = None) -> None:
        self.text, self.ended, self.token_ids = text, ended, token_ids


def test_an_answer_stays_as_it_was_sampled(download: Callable[[str], Path]) -> None:
    for name in TALKERS:
        tokenizer = Tokenizer.load(download(name))
        asked = prompt_ids("How?", tokenizer)
        assert "\ufffd" in tokenizer.decode(prompt_ids("\ud800", tokenizer))  # which no text should hold
        spelled = [one for letter in "So" for one in tokenizer.encode_bytes(letter.encode())]
        for end in tokenizer.end_ids:
            said = Said(tokenizer.decode(spelled), True, [*spelled, end])
            assert with_answer(asked, said, tokenizer).token_ids == [*asked, *spelled, end]
        written_one = [*asked, *tokenizer.encode("So"), tokenizer.end_id]
        assert with_answer(asked, Said("So", True), tokenizer).token_ids == written_one
        assert with_answer(asked, Said("So", True, [*tokenizer.encode("No"), end]), tokenizer).token_ids == written_one


def test_templates_have_the_names_of_special_tokens(download: Callable[[str], Path], tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(download("llama2"))
    names = Conventions.read(download("llama2")).names
    assert names == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer.chat_template = "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ unk_token }}"
    assert written(tokenizer, prompt_ids("?", tokenizer)) == "<s></s><unk>"


def test_a_normalizer_makes_no_special_token(download: Callable[[str], Path]) -> None:
    """One that is looked for in normalized text, and a typed character that becomes one of its letters."""
    from tokenizers import AddedToken, normalizers

    backend = Tokenizer.load(download("qwen2"))._backend
    backend.normalizer = normalizers.NFKC()
    backend.add_special_tokens([AddedToken("<|KING|>", special=True, normalized=True)])
    tokenizer = Tokenizer(backend, Conventions.read(download("qwen2")))
    king = backend.token_to_id("<|KING|>")
    for typed in ("<|KING|>", "<|\u212aING|>", "\uff1c|KING|>"):
        assert king not in prompt_ids(typed, tokenizer)
    assert rendering.closing_id(tokenizer) == tokenizer.end_id
