"""Sessions of people with a browser, kept in the database: a restart of the server signs nobody out.

What is kept is a token's hash, as of keys, so that who reads the database cannot take a session over. A session ends
by itself, with sign-out, with the key it was begun with, and when its user is disabled or gets another password. How a
browser carries the token is the server's business.
"""

import contextlib
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, insert, select, update

from homeroom.workspace import tables
from homeroom.workspace.database import Database
from homeroom.workspace.errors import WorkspaceError
from homeroom.workspace.keys import Key, key_numbered
from homeroom.workspace.users import User

SECONDS = 7 * 24 * 3600
USED_SECONDS = 60  # how exact `used` is: each request would be a write


@dataclass(frozen=True)
class Session:
    """Of a user, or of who gave a key on the sign-in page. `form_token` has to come with what changes anything."""

    number: int
    holder: User | Key
    form_token: str


class Sessions:
    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, holder: User | Key) -> str:
        """A new token, the only time that it is seen. The holder as `verify` or `find` gave it a moment ago: one who
        was disabled since gets a token that is none."""
        token, moment = secrets.token_urlsafe(32), datetime.now(UTC)
        whose = (
            {"user_number": holder.number, "generation": holder.generation}
            if isinstance(holder, User)
            else {"key_number": holder.number}
        )
        row = {"hash": _hash(token), "at": _text(moment), "used": _text(moment), **whose}
        row["expires"] = _text(moment + timedelta(seconds=SECONDS))
        with self._database.write() as connection:
            connection.execute(delete(tables.sessions).where(tables.sessions.c.expires <= _text(moment)))
            connection.execute(insert(tables.sessions).values(**row))
        return token

    def find(self, token: str) -> Session | None:
        """Whose session it is, as long as it lasts. Reads the database."""
        sessions, users, moment = tables.sessions, tables.users, datetime.now(UTC)
        found = select(sessions).where(sessions.c.hash == _hash(token), sessions.c.expires > _text(moment))
        with self._database.read() as connection:
            row = connection.execute(found).one_or_none()
            if row is None:
                return None
            holder: User | Key | None
            if row.key_number is not None:
                holder = key_numbered(connection, row.key_number)
            else:
                same = (users.c.number == row.user_number) & (users.c.generation == row.generation)
                user = connection.execute(select(users).where(same, users.c.disabled.is_(None))).one_or_none()
                holder = None if user is None else User.of(user)
        if holder is None or (isinstance(holder, Key) and holder.state != "valid"):
            return None
        if row.used < _text(moment - timedelta(seconds=USED_SECONDS)):
            self._touch(row.number, _text(moment))
        return Session(row.number, holder, form_token(token))

    def end(self, token: str) -> None:
        with self._database.write() as connection:
            connection.execute(delete(tables.sessions).where(tables.sessions.c.hash == _hash(token)))

    def last_used(self) -> dict[int, str]:
        """By number of user: when a session that still lasts was last used."""
        sessions = tables.sessions.c
        with self._database.read() as connection:
            rows = connection.execute(select(sessions.user_number, sessions.used).order_by(sessions.used)).all()
        return {row.user_number: row.used for row in rows if row.user_number is not None}

    def _touch(self, number: int, moment: str) -> None:
        with contextlib.suppress(WorkspaceError), self._database.write() as connection:  # a full disk signs nobody out
            connection.execute(update(tables.sessions).where(tables.sessions.c.number == number).values(used=moment))


def form_token(token: str) -> str:
    """The session's own, which a page may hold: nobody can make a session's token of it, nor it without that."""
    return hmac.new(token.encode("utf-8", "surrogatepass"), b"homeroom form", hashlib.sha256).hexdigest()


def _hash(token: str) -> str:
    """SHA-256, as of keys: 256 random bits cannot be guessed. Found by an index on the hash: how long that takes
    tells of a hash, of which no token can be made."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
