"""API keys: who may use the server. A key is shown once, when it is made; what is kept is its hash.

A user's key acts as the user, with the user's role at that moment. A key of nobody is a user of its own, by its name,
and has the role `annotate`: it can do all that such a key could before there were users, and was perhaps given to a
guest; promotion, data and lessons take an account. What needs a key is the server's business.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, select, update

from homeroom.workspace import passwords, tables
from homeroom.workspace.database import Database
from homeroom.workspace.errors import KeyRefused
from homeroom.workspace.users import Role, is_a_name, why_no_name

PREFIX = "hr-"  # so that a key that lies about somewhere is known for what it is
OF_NOBODY: Role = "annotate"


@dataclass(frozen=True)
class Key:
    """All that is known of a key but its hash. What is asked and voted with it is `who`'s."""

    number: int
    name: str
    at: str
    expires: str | None
    revoked: str | None
    user: str | None  # whose it is; None: nobody's
    role: Role
    disabled: bool  # with its user

    @property
    def who(self) -> str:
        return self.name if self.user is None else self.user

    @property
    def state(self) -> str:
        if self.revoked is not None:
            return "revoked"
        if self.disabled:
            return "disabled"
        return "expired" if self.expires is not None and self.expires <= tables.now() else "valid"


class Keys:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, days: int | None = None, user: str | None = None) -> str:
        """A new key of this name, which works at once, also at servers that run. The only time that it is seen."""
        if not is_a_name(name):
            raise KeyRefused(why_no_name(name, "key", "a key"))
        expires = None
        if days is not None:
            expires = (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="microseconds")
        key = PREFIX + secrets.token_urlsafe(32)
        row: dict[str, Any] = {
            "name": name,
            "hash": _hash(key),
            "at": tables.now(),
            "expires": expires,
            "revoked": None,
        }
        with self._database.write() as connection:
            if any(other.name == name for other in _valid(connection)):
                raise KeyRefused(
                    f"there is a key '{name}' already. Revoke it first (`homeroom keys revoke '{name}'`), "
                    "or choose another name."
                )
            row["user_number"] = _owner(connection, name, user)
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
            return _read(connection.execute(_ordered().where(number == found.number)).one())

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


def key_numbered(connection: Connection, number: int) -> Key | None:
    row = connection.execute(_ordered().where(tables.keys.c.number == number)).one_or_none()
    return None if row is None else _read(row)


def _owner(connection: Connection, name: str, user: str | None) -> int | None:
    """The number of the user whose the key will be. A key of nobody must not pass for a user."""
    users = tables.users.c
    found = connection.execute(
        select(users.number, users.name).where(users.sign_in == passwords.folded(name if user is None else user))
    ).one_or_none()
    if user is None and found is not None:
        raise KeyRefused(
            f"there is a user '{found.name}', for whom the holder of this key would pass. Make it that user's "
            f"(`homeroom keys create '{name}' --user '{found.name}'`), or choose another name."
        )
    if user is not None and found is None:
        raise KeyRefused(f"there is no user '{user}'. `homeroom users list` lists all.")
    return None if found is None else int(found.number)


def _ordered() -> Select[Any]:
    keys, users = tables.keys, tables.users
    columns = (users.c.name.label("user"), users.c.role, users.c.disabled)
    return select(keys, *columns).outerjoin(users, users.c.number == keys.c.user_number).order_by(keys.c.number)


def _valid(connection: Connection) -> list[Key]:
    return [key for key in map(_read, connection.execute(_ordered())) if key.state == "valid"]


def _read(row: Row[Any]) -> Key:
    return Key(
        number=row.number,
        name=row.name,
        at=row.at,
        expires=row.expires,
        revoked=row.revoked,
        user=row.user,
        role=OF_NOBODY if row.user is None else row.role,
        disabled=row.disabled is not None,
    )
