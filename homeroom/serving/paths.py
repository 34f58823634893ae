"""Which addresses the API has and which methods each takes, read from its own OpenAPI description.

What is not there is refused in OpenAI's format: the pages, which may be mounted at /, would answer it with a page.
"""

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from homeroom.serving.errors import ApiError, refuse


class Paths:
    """A middleware. `described`: "paths" of the OpenAPI description."""

    def __init__(self, app: ASGIApp, described: Mapping[str, Mapping[str, Any]]) -> None:
        self._app = app
        self._known = [
            (compile_path(template)[0], template, sorted(method.upper() for method in methods))
            for template, methods in described.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refusal(scope)) is not None:
            await refuse(refusal, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> ApiError | None:
        path, method = scope["path"], scope["method"]
        state = scope.setdefault("state", {})
        for pattern, template, methods in self._known:
            if pattern.fullmatch(path):
                state["route"] = template  # for metrics.py
                if method not in methods:
                    allowed = ", ".join(methods)
                    message = f"{path} takes {allowed}, not {method}."
                    return ApiError(405, message, code="method_not_allowed", headers={"Allow": allowed})
                if method == "POST" and not _is_json(Headers(scope=scope)):
                    return ApiError(400, "The body of the request has to be JSON, sent as application/json.")
                return None
        if path == "/v1" or path.startswith("/v1/"):
            state["route"] = "/v1/…"
            return ApiError(404, f"There is nothing at {path}; see /openapi.json.", code="unknown_url")
        return None


def _is_json(headers: Headers) -> bool:
    """A form or plain text is what browsers send to another site without asking it first."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"
