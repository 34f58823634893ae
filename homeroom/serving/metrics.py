"""What the server did, for Prometheus: requests, answers, tokens, times, refusals. No texts and no names.

Every application has a registry of its own, so that several in one process do not count for each other.
"""

import time
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from homeroom.serving.assistant import Assistant
from homeroom.serving.ending import Ended

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300)
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
# By the code of the error that was answered. Another code, such as a wrong parameter's, is no refusal.
REFUSALS = {
    "invalid_api_key": "key",
    "rate_limit_exceeded": "rate",
    "too_many_requests": "queue_full",
    "request_too_large": "too_large",
    "stopping": "stopping",
    "wrong_host": "host",
    "other_site": "origin",
    "wrong_form_token": "form_token",
    "role_needed": "role",
}


class Timed(Ended, Protocol):
    first_seconds: float | None


class Metrics:
    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "homeroom_requests", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "homeroom_request_seconds", "From request to the last byte.", ["route"], buckets=SECONDS, registry=registry
        )
        self.in_work = Gauge("homeroom_answers_in_work", "Answers being written.", registry=registry)
        self.waiting = Gauge("homeroom_answers_waiting", "Answers that wait for a slot.", registry=registry)
        self.prompt_tokens = Counter("homeroom_prompt_tokens", "Tokens read, of answers that ended.", registry=registry)
        self.completion_tokens = Counter("homeroom_completion_tokens", "Tokens written.", registry=registry)
        self.first_seconds = Histogram(
            "homeroom_time_to_first_token_seconds",
            "From question to first text, of answers that do not come whole.",
            buckets=SECONDS,
            registry=registry,
        )
        self.answers = Counter("homeroom_answers", "Answers that ended.", ["finish_reason"], registry=registry)
        self.refused = Counter("homeroom_refused", "Requests refused.", ["reason"], registry=registry)
        self.model = Info("homeroom_model", "The model that answers.", registry=registry)
        for reason in REFUSALS.values():  # present from the beginning, so that an alert on a first one can be written
            self.refused.labels(reason)

    def answered(self, reply: Timed) -> None:
        self.answers.labels(reply.finish_reason or "error").inc()
        self.prompt_tokens.inc(reply.prompt_tokens)
        self.completion_tokens.inc(len(reply.tokens))
        if reply.first_seconds is not None:
            self.first_seconds.observe(reply.first_seconds)

    def page(self, assistant: Assistant) -> bytes:
        """In Prometheus' text format."""
        unfinished = assistant.unfinished
        self.in_work.set(min(unfinished, assistant.slots))
        self.waiting.set(max(0, unfinished - assistant.slots))
        self.model.info({"model": assistant.loaded_id or ""})
        return generate_latest(self.registry)


class Measured:
    """The outermost middleware: sees also what the others refuse."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        began, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            # A label from a closed set: anybody may ask for any address by any method.
            route = state.get("route", "pages")
            method = scope["method"] if scope["method"] in METHODS else "other"
            # 499 as nginx has it: the client left before there was an answer.
            self._metrics.requests.labels(route, method, str(status or 499)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - began)
            if reason := REFUSALS.get(state.get("refused") or ""):
                self._metrics.refused.labels(reason).inc()
