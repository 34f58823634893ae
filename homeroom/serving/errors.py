"""Errors in OpenAI's format, for everything under /v1: {"error": {"message", "type", "param", "code"}}."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from homeroom.serving.assistant import AssistantStopped, ContextTooLong, TooBusy, TooMany
from homeroom.serving.chat import Stopping
from homeroom.serving.forms import FormFailed, FormRefused
from homeroom.settings import HomeroomError
from homeroom.text.errors import ChatTemplateError, NoChatTemplate
from homeroom.workspace.errors import FeedbackError, NotRecorded

_TYPES = {404: "not_found_error", 409: "conflict_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """Raised anywhere behind a route, answered in OpenAI's format."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        # What a client sent may be quoted, even where it cannot be written as UTF-8.
        super().__init__(message.encode("utf-8", "replace").decode())
        param = None if param is None else param.encode("utf-8", "replace").decode()
        self.status, self.param, self.code, self.headers = status, param, code, headers

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), status_code=self.status, headers=self.headers)

    def body(self) -> dict[str, Any]:
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def as_api_error(error: Exception) -> ApiError:
    """What the rooms below raise, in the words of the API."""
    match error:
        case ApiError():
            return error
        case ContextTooLong():
            return ApiError(400, str(error), param=error.param, code="context_length_exceeded")
        case FormRefused():
            failed = isinstance(error, FormFailed)
            return ApiError(400, str(error), param=error.param, code="form_failed" if failed else "invalid_value")
        case ChatTemplateError():
            missing = isinstance(error, NoChatTemplate)
            return ApiError(400, str(error), param="messages", code="no_chat_template" if missing else "invalid_value")
        case TooMany():
            return ApiError(400, str(error), param="n", code="invalid_value")
        case TooBusy():
            return ApiError(429, str(error), code="too_many_requests", headers=retry_after(error.retry_after))
        case Stopping():
            return ApiError(503, str(error), code="stopping", headers=retry_after(error.retry_after))
        case AssistantStopped():
            return ApiError(503, str(error), code="no_model")
        case NotRecorded():
            return ApiError(404, str(error), param=error.param, code="message_not_found")
        case FeedbackError():
            return ApiError(400, str(error))
        case HTTPException():
            message = error.detail or HTTPStatus(error.status_code).phrase
            # 400 is Starlette's for a body that is no text.
            code = {413: "request_too_large", 400: "invalid_json"}.get(error.status_code)
            return ApiError(error.status_code, message, code=code, headers=error.headers)
        case RequestValidationError():
            return _from_validation(error.errors())
        case HomeroomError():
            return ApiError(500, str(error))
    return ApiError(500, "The server had an error while processing the request; its log says which.")


def retry_after(seconds: float) -> dict[str, str]:
    """A header in whole seconds; 0 would mean at once, which is what was just refused."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


async def refuse(refusal: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer before any route is reached."""
    _note(scope, refusal)
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
    else:
        await refusal.response()(scope, receive, send)


def _note(scope: Scope, error: ApiError) -> None:
    """For metrics.py, which counts refusals by their reason."""
    scope.setdefault("state", {})["refused"] = error.code


def install(app: FastAPI) -> None:
    async def answer(request: Request, error: Exception) -> JSONResponse:
        refusal = as_api_error(error)
        _note(request.scope, refusal)
        return refusal.response()

    for kind in (ApiError, HomeroomError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, answer)


def _from_validation(errors: Sequence[dict[str, Any]]) -> ApiError:
    first = errors[0]
    if len(errors) > 1 and {error["loc"][:2] for error in errors} == {("body", "prompt")}:
        # One error for each kind of prompt that it is not.
        reason = "it is a text, a list of token ids, or a list of at most 128 of these, none empty"
        return ApiError(400, f"Invalid value for 'prompt': {reason}.", param="prompt", code="invalid_value")
    if first["type"] == "json_invalid":
        return ApiError(400, "The body of the request is not valid JSON.", code="invalid_json")
    param = _param(first["loc"])
    if not param:
        return ApiError(400, "The body of the request has to be a JSON object, sent as application/json.")
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"Unrecognized request argument supplied: {param}", param=param, code="unknown_parameter")
    if first["type"] == "missing":
        return ApiError(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    reason = str(first["msg"]).removeprefix("Value error, ")
    return ApiError(400, f"Invalid value for '{param}': {reason}.", param=param, code="invalid_value")


def _param(location: Sequence[str | int]) -> str:
    """("body", "messages", 0, "content") → messages[0].content"""
    text = ""
    for part in location[1:]:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
