"""How the assistant is served: where it listens, who may use it, how much it takes on, how it samples when a request
does not say.

The `serve` stage's Config is this; what the settings do is the business of app.py, access.py and assistant.py.
"""

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from homeroom.inference.request import Sampling
from homeroom.settings import Frozen, Probability

NETWORK_REQUESTS_PER_MINUTE = 120


class ServingSettings(Frozen):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="0 takes any free port")] = 8000
    allow_network: bool = Field(
        False,
        description="listen beyond this machine; API and pages then need an account (`homeroom users create NAME`) "
        "or a key (`homeroom keys create NAME`)",
    )
    allow_open_network: bool = Field(
        False, description="beyond this machine also without account and key: whoever reaches the port can chat"
    )
    require_key: bool | None = Field(
        None, description="whether the API needs a key or an account; not set: as soon as one was made"
    )
    slots: PositiveInt = Field(16, description="answers written at the same time")
    max_waiting: PositiveInt = Field(256, description="answers in work or waiting; more are refused with 429")
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        1024 * 1024, description="a request with a larger body is refused with 413"
    )
    requests_per_minute: NonNegativeInt | None = Field(
        None,
        description="to the API, of one key or account, or of one address without; 0: any number; "
        f"not set: any number, and {NETWORK_REQUESTS_PER_MINUTE} with allow_network",
    )
    shutdown_seconds: NonNegativeFloat = Field(
        30.0, description="after Ctrl-C or SIGTERM, how long answers in work may take to end"
    )
    compressed: bool = Field(
        True, description="answer with the champion's int8 weights, if `homeroom compress` made them"
    )
    chunk: PositiveInt = Field(128, description="tokens of prompts read in a step: more delays the others' next words")
    prefix_megabytes: NonNegativeInt = Field(
        256, description="what may be kept of earlier prompts, so that what begins alike is read once (int8 models)"
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None, description="not set: what the model's makers advise, else 1; so for the two below"
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    max_tokens: PositiveInt = 256
    pairs: Probability = Field(
        0.1, description="share of questions on the chat page that get two answers to choose from, blind; 0: none"
    )

    @model_validator(mode="after")
    def _network_is_a_decision(self) -> Self:
        if not self.allow_network and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} is reachable from other machines. "
                "Set allow_network = true as well if that is meant, or keep host = '127.0.0.1'."
            )
        if self.allow_network and self.require_key is False and not self.allow_open_network:
            raise ValueError(
                "with require_key = false whoever reaches the port can chat. "
                "Set allow_open_network = true as well if that is meant, or leave require_key out."
            )
        return self

    @property
    def rate(self) -> int:
        """Requests in a minute; 0 is any number."""
        if self.requests_per_minute is not None:
            return self.requests_per_minute
        return NETWORK_REQUESTS_PER_MINUTE if self.allow_network else 0

    def sampling(self, advice: Mapping[str, float] | None = None) -> Sampling:
        """How to sample when a request does not say. `advice` is the model's own: `Tokenizer.advice`."""
        names = ("temperature", "top_p", "repetition_penalty")
        set_here = {name: value for name in names if (value := getattr(self, name)) is not None}
        return Sampling(max_tokens=self.max_tokens, **{**(advice or {}), **set_here})


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
