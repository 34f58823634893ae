"""Many people who vote at once, while the server is killed and started again: is every acknowledged vote there, once?

    python -m bench.voters [--seconds 120] [--clients 200] [--kills 5]

A server in a process of its own, with a small random model. Each client votes, writes better answers and ranks through
HTTP without a pause, every request under an id of its own, which it sends again until it is acknowledged; now and then
also after that, as who lost the reply would. The server's process gets SIGKILL and another one takes its port. At the
end the rows are read from the database file. `lost` counts acknowledged ids that it does not hold, `doubled` rows
beyond one for an id that was sent.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import socket
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import httpx

from homeroom.serving.app import serving
from homeroom.serving.settings import ServingSettings
from homeroom.workspace import Item, Workspace
from homeroom.workspace.workspace import DATABASE

QUESTIONS, ANSWERS = 40, 3
AGAIN = 0.05  # how often a request is sent once more although it was acknowledged
TABLES = {"vote": "votes", "edit": "edits", "ranking": "rankings"}
# Its child processes begin with everything loaded: a server is back in the time that it takes to open a database.
FORKS = multiprocessing.get_context("forkserver")


@dataclass
class Seen:
    sent: dict[str, str] = field(default_factory=dict)  # the kind by id
    acknowledged: set[str] = field(default_factory=set)
    retries: int = 0
    wrong: Counter[str] = field(default_factory=Counter)


def serve(folder: Path, port: int) -> None:
    """The child process: until it is killed."""
    with Workspace.open(folder) as workspace, serving(workspace, ServingSettings(port=port)):
        threading.Event().wait()


class Server:
    """One process after another, all at one address."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._folder, self.url = folder, f"http://127.0.0.1:{self._port}"
        self._process: ForkServerProcess | None = None

    def start(self) -> None:
        self._process = FORKS.Process(target=serve, args=(self._folder, self._port), daemon=True)
        self._process.start()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/healthz").status_code == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError("the server did not answer within a minute")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.join()


def statement(draw: random.Random, items: list[Item], user: str) -> tuple[str, dict[str, Any]]:
    """Something to say, as its kind and the request's body without an id."""
    item, kind = draw.choice(items), draw.choice(list(TABLES))
    answer = draw.choice(item.answer_ids)
    if kind == "vote":
        return kind, {"message_id": answer, "value": draw.choice([1, -1]), "user": user}
    if kind == "edit":
        return kind, {"message_id": answer, "text": f"better: {draw.random()}", "user": user}
    order = draw.sample(item.answer_ids, ANSWERS)
    return kind, {"question_id": item.question_id, "tiers": [order[:1], order[1:]], "user": user}


async def voter(http: httpx.AsyncClient, items: list[Item], number: int, until: float, seen: Seen) -> None:
    draw, count = random.Random(number), 0
    while time.monotonic() < until:
        kind, body = statement(draw, items, f"voter-{number}")
        id, count = f"{number}-{count}", count + 1
        seen.sent[id] = kind
        while not await say(http, kind, body | {"id": id}, seen):
            seen.retries += 1
            await asyncio.sleep(draw.uniform(0.05, 0.3))
        seen.acknowledged.add(id)
        if draw.random() < AGAIN:
            await say(http, kind, body | {"id": id}, seen)


async def say(http: httpx.AsyncClient, kind: str, body: dict[str, Any], seen: Seen) -> bool:
    """Whether the server said that it has it."""
    try:
        reply = await http.post(f"/v1/feedback/{TABLES[kind]}", json=body)
    except httpx.HTTPError:
        return False
    if reply.status_code != 200:
        seen.wrong[f"{kind} {reply.status_code}"] += 1
    elif reply.json()["id"] != body["id"]:
        seen.wrong["another id"] += 1
    return reply.status_code == 200


async def load(server: Server, items: list[Item], seconds: float, clients: int, kills: int) -> Seen:
    seen, until = Seen(), time.monotonic() + seconds
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=server.url, timeout=30, limits=limits) as http:
        voters = [asyncio.create_task(voter(http, items, number, until, seen)) for number in range(clients)]
        for _ in range(kills):
            await asyncio.sleep(seconds / (kills + 1))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await asyncio.gather(*voters)
    return seen


def stored(folder: Path) -> list[str]:
    """The ids of all rows, with the kind before them."""
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as connection:
        return [
            f"{kind} {id}" for kind, table in TABLES.items() for (id,) in connection.execute(f"SELECT id FROM {table}")
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--kills", type=int, default=5)
    from bench.serve_load import model_of  # here, because it loads more than a server needs, and each of them this file

    given = parser.parse_args()
    FORKS.set_forkserver_preload(["homeroom.serving.app"])
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model_of(folder, tiny=True)
        with Workspace.open(folder) as workspace:
            items = [
                workspace.queue.add_item(
                    [{"role": "user", "content": f"question {number}?"}],
                    [f"answer {number} {place}" for place in range(ANSWERS)],
                )
                for number in range(QUESTIONS)
            ]
        server = Server(folder)
        server.start()
        try:
            begun = time.monotonic()
            seen = asyncio.run(load(server, items, given.seconds, given.clients, given.kills))
            seconds = time.monotonic() - begun
        finally:
            server.kill()
        rows = Counter(stored(folder))
    acknowledged = {f"{seen.sent[id]} {id}" for id in seen.acknowledged}
    sent = {f"{kind} {id}" for id, kind in seen.sent.items()}
    print(
        json.dumps(
            {
                "acknowledged": len(acknowledged),
                "lost": len(acknowledged - rows.keys()),
                "doubled": sum(count - (name in sent) for name, count in rows.items()),
                "kills": given.kills,
                "clients": given.clients,
                "retries": seen.retries,
                "other_replies": dict(seen.wrong),
                "per_second": round(len(acknowledged) / seconds, 1),
                "seconds": round(seconds, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
