"""How a conversation becomes token ids, and which of them are learned from.

Layout: `<|document|>` `<|system|>`S`<|end|>` `<|user|>`Q`<|end|>` `<|assistant|>`A`<|end|>` …, the system
message optional. Only an assistant's tokens and the `<|end|>` that closes them are learned from.
The Jinja template says the same to other programs. `render` is what Homeroom itself uses, because it encodes
every message on its own: a user who types `<|end|>` gets plain text; a template made into one string obeys it.
Packing, cutting to a context and generation are left to others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homeroom.text.tokenizer import Tokenizer

# `generation` marks what is learned from, so that other trainers can ask the template for the same mask.
JINJA = (
    "{{- '<|document|>' -}}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' and not loop.first -%}"
    "{{- raise_exception('A system message must come first.') -}}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{{- '<|assistant|>' -}}{%- generation -%}{{- message['content'] + '<|end|>' -}}{%- endgeneration -%}"
    "{%- elif message['role'] in ['system', 'user'] -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- else -%}"
    "{{- raise_exception('Roles are system, user and assistant.') -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


@dataclass(frozen=True)
class Rendered:
    token_ids: list[int]
    learn: list[bool]  # learn[i]: token i is to be predicted from those before it


def render(messages: Sequence[Mapping[str, str]], tokenizer: "Tokenizer", *, for_generation: bool = False) -> Rendered:
    """The ids of a conversation; with `for_generation` they end where the assistant begins to answer."""
    openers = {
        "system": tokenizer.system_id,
        "user": tokenizer.user_id,
        "assistant": tokenizer.assistant_id,
    }
    token_ids, learn = [tokenizer.document_id], [False]
    for position, message in enumerate(messages):
        role, content = message["role"], message["content"]
        if role not in openers:
            raise ValueError(f"message {position}: role is {role!r}; allowed are {', '.join(openers)}")
        if role == "system" and position > 0:
            raise ValueError(f"message {position}: a system message must come first")
        body = [*tokenizer.encode(content), tokenizer.end_id]
        token_ids += [openers[role], *body]
        learn += [False] + [role == "assistant"] * len(body)
    if for_generation:
        token_ids.append(tokenizer.assistant_id)
        learn.append(False)
    return Rendered(token_ids, learn)
