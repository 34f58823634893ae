"""The server: API, votes and pages in one FastAPI application, and its life from socket to shutdown.

The registry is looked at twice a second, so that `homeroom promote`, `rollback` and `trial` in another process change
who answers without a restart. Nothing is reported to anybody.
"""

import asyncio
import errno
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

from homeroom.progress import say
from homeroom.serving import completions_api, errors, feedback_api, metrics, openai_api, operating, schemas
from homeroom.serving.access import Access, BuiltFor, check_start
from homeroom.serving.agreement import Agree
from homeroom.serving.assistant import Assistant
from homeroom.serving.blind import Blind
from homeroom.serving.chat import Chat
from homeroom.serving.guard import Guard
from homeroom.serving.life import GRACE_SECONDS, Life, Server
from homeroom.serving.others import Others, compressed_of
from homeroom.serving.paths import Paths
from homeroom.serving.settings import ServingSettings
from homeroom.settings import HomeroomError
from homeroom.workspace import ModelNames, Workspace

log = logging.getLogger(__name__)
CHAMPION_SECONDS = 0.5
RETRY_SECONDS = 2.0  # what cannot be loaded was read through for it
# Promotes or refuses the candidate on trial if the votes allow it. How is the stages' business.
Decide = Callable[[Workspace], object]


def undecided(workspace: Workspace) -> None:
    """Nobody is decided on while this server runs."""


def no_page(page_id: str) -> None:
    """There are no pages here."""


def serve(
    workspace: Workspace, settings: ServingSettings, agree: Agree | None = None, decide: Decide = undecided
) -> None:
    """Serve API and pages until interrupted. `agree` measures how far annotators agree."""
    with _server(workspace, settings, pages=True, agree=agree, decide=decide) as (server, listener, url):
        say("serve", f"chat at {url}   OpenAI API at {url}/v1   (Ctrl-C ends it)")
        server.run(sockets=[listener])


@contextmanager
def serving(
    workspace: Workspace, settings: ServingSettings, *, pages: bool = False, decide: Decide = undecided
) -> Iterator[str]:
    """Serve in a thread while the block runs; gives the server's URL. Pages can be served once in a process."""
    with _server(workspace, settings, pages=pages, decide=decide) as (server, listener, url):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server", daemon=True)
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise HomeroomError(f"the server at {url} did not start; its log says why")
                thread.join(0.02)
            yield url
        finally:
            server.should_exit = True
            thread.join(timeout=15)


def create_app(
    workspace: Workspace,
    settings: ServingSettings,
    assistant: Assistant,
    *,
    pages: bool = True,
    agree: Agree | None = None,
    decide: Decide = undecided,
) -> FastAPI:
    """The application. The assistant has a model loaded; it is closed when the application ends."""
    figures = metrics.Metrics()
    chat = Chat(assistant, workspace.feedback, figures.answered)
    app_life = Life(chat)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        watcher = asyncio.create_task(_follow_registry(workspace, assistant, decide))
        yield
        watcher.cancel()
        await asyncio.to_thread(assistant.close)
        await chat.drain()

    # The interactive documentation would fetch its scripts from another host.
    app = FastAPI(title="Homeroom", lifespan=life, docs_url=None, redoc_url=None)
    app.state.life = app_life
    errors.install(app)

    @app.get("/healthz", response_model=schemas.Health, responses=schemas.HEALTH)
    async def health() -> JSONResponse:
        """Open to everybody; 503 tells a load balancer that this server is about to end."""
        status = "stopping" if app_life.stopping else "ok"
        told = {
            "status": status,
            "model": assistant.model_id,
            "candidate": assistant.candidate_id,
            "answers_in_work": assistant.unfinished,
        }
        return JSONResponse(told, 503 if app_life.stopping else 200)

    @app.get("/metrics", response_class=Response, responses=schemas.METRICS)
    async def prometheus() -> Response:
        return Response(figures.page(assistant), headers={"Content-Type": metrics.CONTENT_TYPE})

    app.include_router(openai_api.router(chat, settings))
    app.include_router(completions_api.router(chat, settings, figures.answered))
    app.include_router(feedback_api.router(workspace.feedback, workspace.queue, workspace.forget))
    app.include_router(operating.router(workspace))
    described = app.openapi()["paths"]
    built_for: BuiltFor = no_page
    if pages:
        from homeroom.serving.pages import chat as chat_page
        from homeroom.serving.pages import data, lessons, rank, sign_in
        from homeroom.serving.pages.frame import built_for

        sign_in.mount(app, workspace)
        blind = Blind(chat, workspace.pairs, workspace.registry, settings.pairs)
        names, others = ModelNames(workspace.artifacts), Others(workspace, assistant)
        chat_page.mount(app, chat, blind, settings, names, others, workspace.forget)
        rank.mount(workspace.feedback, workspace.queue, agree)
        lessons.mount(workspace, assistant)
        data.mount(workspace)
    hosts = None if settings.allow_network else sorted({"localhost", "127.0.0.1", "::1", settings.host})
    # The last is the outermost.
    app.add_middleware(Paths, described=described)
    app.add_middleware(Access, settings=settings, workspace=workspace, life=app_life, built_for=built_for)
    app.add_middleware(Guard, hosts=hosts, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(metrics.Measured, metrics=figures)
    return app


def load_champion(workspace: Workspace, assistant: Assistant) -> None:
    """Load the champion unless it is loaded. Raises HomeroomError: there is none, or its files were changed."""
    if assistant.loaded_id is not None and assistant.loaded_id == workspace.registry.champion():
        return
    champion = workspace.champion()
    if champion is None:
        raise HomeroomError(
            "no model was promoted yet, so there is none to answer. "
            "Run `homeroom import smollm2` or `homeroom promote` first."
        )
    assistant.load(champion, compressed_of(workspace, assistant, champion.id))


def load_candidate(workspace: Workspace, assistant: Assistant) -> None:
    """Have the model on trial beside the champion that it is tried against, and none where no trial runs."""
    trial = workspace.registry.trial()
    if trial is None or trial.previous_id != assistant.loaded_id:
        assistant.drop("candidate")
    elif assistant.candidate_id != trial.artifact_id:
        candidate = workspace.artifacts.get(trial.artifact_id)
        candidate.check()
        # In the champion's number format: people are asked for the models.
        small = workspace.artifacts.made_of(str(trial.previous_id), "compress") is not None
        assistant.load_candidate(candidate, compressed_of(workspace, assistant, candidate.id) if small else None)


async def _follow_registry(workspace: Workspace, assistant: Assistant, decide: Decide) -> None:
    steps = (
        ("the trial was not decided", lambda: decide(workspace)),
        ("kept serving {}", lambda: load_champion(workspace, assistant)),
        ("the candidate does not answer", lambda: load_candidate(workspace, assistant)),
    )
    said: dict[str, str] = {}
    while True:
        await asyncio.sleep(CHAMPION_SECONDS)
        for what, step in steps:
            try:
                await asyncio.to_thread(step)
                said[what] = ""
            except Exception as error:  # the model that is loaded keeps answering
                if str(error) != said.get(what):
                    log.warning("%s: %s", what.format(assistant.loaded_id), error)
                said[what] = str(error)
                await asyncio.sleep(RETRY_SECONDS)


@contextmanager
def _server(
    workspace: Workspace, settings: ServingSettings, *, pages: bool, agree: Agree | None = None, decide: Decide
) -> Iterator[tuple[Server, socket.socket, str]]:
    check_start(settings, workspace)
    listener = _listen(settings.host, settings.port)
    assistant = Assistant(settings)
    try:
        load_champion(workspace, assistant)
        app = create_app(workspace, settings, assistant, pages=pages, agree=agree, decide=decide)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        yield Server(config, app.state.life, settings.shutdown_seconds), listener, _url(listener)
    finally:
        assistant.close()
        listener.close()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # those mean every address and cannot be visited
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    """Bind before the model is loaded: a port in use is said at once, and nobody can take the port in between."""
    family, _, _, _, address = _resolve(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            free = _free_port(host, port)
            raise HomeroomError(
                f"port {port} on {host} is in use by another program. Port {free} is free: "
                f"`homeroom serve --set serve.port={free}`."
            ) from error
        raise HomeroomError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listener


def _free_port(host: str, near: int) -> int:
    """The next port that can be had, so that what a person types next time looks familiar."""
    family = _resolve(host, near)[0]
    for port in (*range(near + 1, min(near + 50, 65536)), 0):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(_resolve(host, port)[4])
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise HomeroomError(f"no free port was found on {host}")


def _resolve(host: str, port: int) -> Any:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise HomeroomError(f"host {host!r} is not known on this machine: {error.strerror}") from error
