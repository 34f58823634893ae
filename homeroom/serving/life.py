"""The end of a server's life: what runs is finished, what is new is refused, then the socket closes.

uvicorn alone would close the socket at once: a client could not tell a server that restarts from one that crashed. So
the socket stays open meanwhile, new requests get 503 with Retry-After, and /healthz tells a load balancer to go
elsewhere; when the last answer has ended, uvicorn closes socket and connections as always.
"""

import time
from types import FrameType

import uvicorn

from homeroom.progress import say
from homeroom.serving.chat import Chat

# What was cut short still has to be stored, and its end to reach who reads it.
GRACE_SECONDS = 2


class Life:
    """Whether the application takes anything new, and what it has still to finish."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.requests = 0  # of the API, in work
        self._deadline: float | None = None

    @property
    def stopping(self) -> bool:
        return self._deadline is not None

    @property
    def busy(self) -> bool:
        return self.requests > 0 or self.chat.writing > 0 or self.chat.assistant.unfinished > 0

    @property
    def seconds_left(self) -> float:
        return 0.0 if self._deadline is None else self._deadline - time.monotonic()

    def stop(self, seconds: float) -> None:
        """Take nothing new from now on."""
        self._deadline = time.monotonic() + seconds
        self.chat.take_no_more()

    def cut(self) -> None:
        """End what is not finished; it is stored as far as it was written."""
        self._deadline = time.monotonic()
        self.chat.assistant.cancel_all()


class Server(uvicorn.Server):
    """One signal (Ctrl-C, SIGTERM) ends it in good order, a second cuts answers short, a third drops everything.

    It ends with exit code 0: unlike uvicorn it does not raise the signal again, since it did what was asked.
    """

    def __init__(self, config: uvicorn.Config, life: Life, shutdown_seconds: float) -> None:
        super().__init__(config)
        self._life, self._seconds, self._signals = life, shutdown_seconds, 0
        self._cut = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._signals += 1
        self.force_exit = self._signals > 2

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        life = self._life
        if self._signals and not life.stopping:
            life.stop(self._seconds)
            if life.busy:
                say("serve", f"stopping; answers in work have {self._seconds:g} s to end (Ctrl-C again: none)")
        if self._signals and not self._cut and (self._signals > 1 or life.seconds_left <= 0):
            life.cut()
            self._cut = True
        if self._signals and (not life.busy or life.seconds_left < -GRACE_SECONDS or self.force_exit):
            self.should_exit = True
        return await super().on_tick(counter)
