"""What a model reads of a request: the ids of messages or of a text, and of a long conversation its newest turns."""

from collections.abc import Mapping, Sequence

from homeroom.text.chat_template import render
from homeroom.text.tokenizer import Tokenizer

ChatMessage = Mapping[str, str]  # {"role": "system" | "user" | "assistant", "content": text}


def text_ids(text: str, tokenizer: Tokenizer) -> list[int]:
    """A text to go on from, which begins as a document does where the model is used to that."""
    return [*([tokenizer.document_id] if tokenizer.adds_bos else []), *tokenizer.encode(text)]


def prompt_ids(messages: Sequence[ChatMessage], tokenizer: Tokenizer) -> list[int]:
    return render(messages, tokenizer, for_generation=True).token_ids


def newest(messages: Sequence[ChatMessage], tokenizer: Tokenizer, limit: int) -> list[ChatMessage]:
    """As many turns as fit the limit, the last one in any case. From the end: what is older is not even encoded."""
    if not tokenizer.is_own:  # another model's template may write a message differently where others stand before it
        kept: Sequence[ChatMessage] = messages
        for at in reversed([at for at, message in enumerate(messages) if at == 0 or message["role"] == "user"]):
            if kept is not messages and len(prompt_ids(messages[at:], tokenizer)) > limit:
                break
            kept = messages[at:]
        return list(kept)
    frame = len(prompt_ids([], tokenizer))  # what a prompt has around its messages, each of which is encoded alone
    length, first = frame, None
    for at in reversed(range(len(messages))):
        length += len(prompt_ids([messages[at]], tokenizer)) - frame
        if first is not None and length > limit:
            break
        if at == 0 or messages[at]["role"] == "user":
            first = at
    return list(messages[first:])
