"""The other side of the API: a program that asks, and votes on what it was answered, as any user over HTTP.

The wire format is the business of openai_api.py and feedback_api.py; what is asked and how answers are rated, callers'.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Literal

from homeroom.settings import HomeroomError


@dataclass(frozen=True)
class Said:
    """An answer as the client saw it."""

    message_id: str
    text: str
    ended: bool


class Client:
    """Speaks with one model of one server, in one user's name.

    It names the model itself and not the alias: where another one is promoted meanwhile, the server refuses.
    """

    def __init__(self, url: str, model_id: str, user: str, *, timeout: float = 300) -> None:
        self.model_id = model_id
        self._url, self._user, self._timeout = url, user, timeout
        # A proxy of the environment is not meant for a server in this very process.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(
        self, question: str, conversation_id: str, *, temperature: float, max_tokens: int, seed: int, count: int = 1
    ) -> list[Said]:
        """Several answers to the first question of a conversation, with this seed and those after it."""
        body = {
            "model": self.model_id,
            "messages": [{"role": "user", "content": question}],
            "temperature": temperature,
            "top_p": 1.0,
            "max_tokens": max_tokens,
            "seed": seed,
            "n": count,
            "homeroom": {"conversation_id": conversation_id, "user": self._user},
        }
        reply = self._post("/v1/chat/completions", body)
        return [
            Said(message_id, choice["message"]["content"], choice["finish_reason"] == "stop")
            for message_id, choice in zip(reply["homeroom"]["answer_ids"], reply["choices"], strict=True)
        ]

    def vote(self, votes: Iterable[tuple[str, Literal[1, -1], str]]) -> None:
        """On several answers at once: (message_id, value, id). Sent again with the same id, a vote counts once."""
        given = [{"message_id": message_id, "value": value, "id": id} for message_id, value, id in votes]
        self._post("/v1/feedback/votes/batch", {"votes": given, "user": self._user})

    def edit(self, message_id: str, text: str, id: str) -> None:
        """A better answer than this one. Sent again with the same id, it counts once."""
        self._post("/v1/feedback/edits", {"message_id": message_id, "text": text, "id": id, "user": self._user})

    def _post(self, path: str, body: dict[str, Any], attempts: int = 6) -> dict[str, Any]:
        """Retries what a busy server asks to retry; every request can be repeated."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})
        for attempt in range(attempts):
            try:
                with self._opener.open(request, timeout=self._timeout) as response:
                    reply: dict[str, Any] = json.load(response)
                    return reply
            except urllib.error.HTTPError as error:
                if error.code not in (429, 503) or attempt == attempts - 1:
                    raise HomeroomError(f"{path} answered {error.code}: {_message(error)}") from error
            except (OSError, HTTPException) as error:  # refused, broken off, or silent for longer than the timeout
                raise HomeroomError(
                    f"{self._url}{path} gave no answer ({error}). Try again: nothing that was answered is lost."
                ) from error
            time.sleep(0.2 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return error.reason
