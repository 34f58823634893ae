"""API keys: who may use the server. A key is shown once, when it is made; what is kept is its hash.

What needs a key, and what a key's holder may do, is the server's business.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, select, update

from homeroom.workspace import tables
from homeroom.workspace.database import Database
from homeroom.workspace.errors import KeyRefused

PREFIX = "hr-"  # so that a key that lies about somewhere is known for what it is
_NAME = re.compile(r"\w[\w.@+ -]{0,98}\w|\w")
# The users of the terminal and the pages, and of requests without a key: a key's conversations are its own.
_TAKEN = {"local", "api"}
_TAKEN_PREFIX = "visitor-"


@dataclass(frozen=True)
class Key:
    """All that is known of a key but its hash. `name` is the user of what is asked and voted with it."""

    number: int
    name: str
    at: str
    expires: str | None
    revoked: str | None

    @property
    def state(self) -> str:
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= tables.now() else "valid"


class Keys:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, days: int | None = None) -> str:
        """A new key of this name, which works at once, also at servers that run. The only time that it is seen."""
        if not _NAME.fullmatch(name) or name in _TAKEN or name.startswith(_TAKEN_PREFIX):
            raise KeyRefused(
                f"{name!r} cannot be a key's name: letters, digits and . _ @ + - (1 to 100 of them, spaces between), "
                "and not 'local', 'api' or 'visitor-…', which name people without a key"
            )
        expires = None
        if days is not None:
            expires = (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="microseconds")
        key = PREFIX + secrets.token_urlsafe(32)
        row = {"name": name, "hash": _hash(key), "at": tables.now(), "expires": expires, "revoked": None}
        with self._database.write() as connection:
            if any(other.name == name for other in _valid(connection)):
                raise KeyRefused(
                    f"there is a key '{name}' already. Revoke it first (`homeroom keys revoke '{name}'`), "
                    "or choose another name."
                )
            tables.insert_numbered(connection, tables.keys, row)
        return key

    def all(self) -> list[Key]:
        """Every key that was ever made, oldest first."""
        with self._database.read() as connection:
            return [_read(row) for row in connection.execute(_ordered())]

    def revoke(self, name: str) -> Key:
        """End the key at once, also at servers that run."""
        with self._database.write() as connection:
            found = next((key for key in _valid(connection) if key.name == name), None)
            if found is None:
                raise KeyRefused(f"there is no valid key '{name}'. `homeroom keys list` lists all.")
            number = tables.keys.c.number
            connection.execute(update(tables.keys).where(number == found.number).values(revoked=tables.now()))
            return _read(connection.execute(select(tables.keys).where(number == found.number)).one())

    def exist(self) -> bool:
        """Whether a key was ever made. One that was revoked or has expired must not leave the door open."""
        with self._database.read() as connection:
            return connection.execute(select(tables.keys.c.number).limit(1)).first() is not None

    def valid(self) -> list[Key]:
        with self._database.read() as connection:
            return _valid(connection)

    def find(self, secret: str) -> Key | None:
        """Whose key this is, if it is valid now."""
        given, found = _hash(secret), None
        with self._database.read() as connection:
            rows = connection.execute(_ordered()).all()
        for row in rows:  # all of them, each in constant time: how long it takes tells nothing
            if hmac.compare_digest(given, row.hash):
                found = _read(row)
        return found if found is not None and found.state == "valid" else None


def _hash(secret: str) -> str:
    """SHA-256, and no slow hash as passwords need: 256 random bits cannot be guessed however fast a guess is, and
    every request is checked."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _ordered() -> Select[Any]:
    return select(tables.keys).order_by(tables.keys.c.number)


def _valid(connection: Connection) -> list[Key]:
    return [key for key in map(_read, connection.execute(_ordered())) if key.state == "valid"]


def _read(row: Row[Any]) -> Key:
    return Key(**{field.name: getattr(row, field.name) for field in fields(Key)})
