"""How the assistant is served: where it listens, how much it takes on, how it samples when a request does not say.

The `serve` stage's Config is this; what the settings do is app.py's and assistant.py's business.
"""

import ipaddress
from typing import Annotated, Self

from pydantic import Field, PositiveInt, model_validator

from homeroom.inference.request import Sampling
from homeroom.settings import Frozen


class ServingSettings(Frozen):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="0 takes any free port")] = 8000
    allow_network: bool = Field(
        False, description="listen beyond this machine; there is no login, so whoever reaches the port can chat"
    )
    slots: PositiveInt = Field(16, description="answers written at the same time")
    max_waiting: PositiveInt = Field(256, description="answers in work or waiting; more are refused with 429")
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] = 1.0
    max_tokens: PositiveInt = 256

    @model_validator(mode="after")
    def _network_is_a_decision(self) -> Self:
        if not self.allow_network and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host} is reachable from other machines, and Homeroom has no login. "
                "Set allow_network = true as well if that is meant, or keep host = '127.0.0.1'."
            )
        return self

    def sampling(self) -> Sampling:
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
            max_tokens=self.max_tokens,
        )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
