"""What people asked as questions to measure models by: nobody knows the right answers, so that a judge decides.

Which conversations are held out is the split's business (`homeroom.data.preferences`).
"""

import hashlib
from collections.abc import Iterable

from homeroom.data.preferences import Pair, Thumb, near_duplicates
from homeroom.tasks.base import Question, language_of
from homeroom.tasks.split import share
from homeroom.tasks.wording import plain

KIND = "asked"


def questions_asked(judged: Iterable[Thumb | Pair], most: int) -> list[Question]:
    """The first turns of conversations, of those that nearly say the same one, at most so many in a stable order.

    Later turns hang on what the model said before, which another model would not have said.
    """
    asked = {one.messages[0]["content"] for one in judged if [m["role"] for m in one.messages] == ["user"]}
    prompts = sorted(asked, key=lambda prompt: share(prompt, "asked"))
    clusters = near_duplicates([plain(prompt) for prompt in prompts])
    first = {cluster: prompt for prompt, cluster in reversed(list(zip(prompts, clusters, strict=True)))}
    return [_question(prompt) for prompt in prompts if prompt in first.values()][:most]


def _question(prompt: str) -> Question:
    name = f"asked-{hashlib.blake2b(prompt.encode(), digest_size=8).hexdigest()}"
    return Question(name, prompt, "", language_of(prompt) or "en", KIND, name)
