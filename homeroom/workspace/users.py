"""The people who may use the server, by name and password, and what each may do.

`talk` is to chat and vote; `annotate` is also to rank answers for others; `operate` is all of it: data, lessons,
promotion. Which page needs which role, and how often a password may be tried, is the server's business.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal, Self

from sqlalchemy import Connection, Row, delete, select, update

from homeroom.workspace import passwords, tables
from homeroom.workspace.database import Database
from homeroom.workspace.errors import UserRefused

Role = Literal["talk", "annotate", "operate"]
ROLES: tuple[Role, ...] = ("talk", "annotate", "operate")  # each may do what those before it may
NAME = re.compile(r"\w[\w.@+ -]{0,98}\w|\w")
LOCAL = "local"  # whoever sits at this machine and has no account
# And of requests without a key, of what annotators are asked, and of what was imported: nobody's, so that no one person
# may delete it as their own.
_TAKEN = (LOCAL, "api", "queue", "import")
_TAKEN_PREFIX = "visitor-"


def may(role: Role, needed: Role) -> bool:
    return ROLES.index(role) >= ROLES.index(needed)


def is_a_name(name: str) -> bool:
    """Whether a person or a key may be called so: what they ask and vote is recorded under it."""
    plain = passwords.folded(name)
    return (
        bool(NAME.fullmatch(name)) and len(plain) <= 100 and plain not in _TAKEN and not plain.startswith(_TAKEN_PREFIX)
    )


def why_no_name(name: str, whose: str, without: str) -> str:
    """What is said where `is_a_name` refuses: no `whose` name, for such names are of people without what they lack."""
    taken = ", ".join(f"'{one}'" for one in _TAKEN)
    return (
        f"{name!r} cannot be a {whose}'s name: letters, digits and . _ @ + - (1 to 100 of them, spaces between), "
        f"and not {taken} or '{_TAKEN_PREFIX}…', which name people without {without}"
    )


@dataclass(frozen=True)
class User:
    """All that is known of a user but the password's hash. Sessions of an earlier `generation` have ended."""

    number: int
    name: str
    role: Role
    at: str
    disabled: str | None
    generation: int

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        return cls(row.number, row.name, row.role, row.at, row.disabled, row.generation)

    @property
    def state(self) -> str:
        return "active" if self.disabled is None else "disabled"


class Users:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, role: str, password: str) -> User:
        if not is_a_name(name):
            raise UserRefused(why_no_name(name, "user", "an account"))
        known = _known(role)
        passwords.check(password, name)
        hash = passwords.hashed(password)  # outside of the transaction: others need not wait for it
        row = {"name": name, "sign_in": passwords.folded(name), "role": known, "password": hash}
        with self._database.write() as connection:
            if _row(connection, name) is not None:
                raise UserRefused(f"there is a user '{name}' already. `homeroom users list` lists all.")
            if _holder_of_key(connection, name):
                raise UserRefused(
                    f"there is a key '{name}' of nobody: its holder would pass for this user. Revoke it first "
                    f"(`homeroom keys revoke '{name}'`), or choose another name."
                )
            number = tables.insert_numbered(connection, tables.users, row | {"at": tables.now(), "generation": 0})
            return _numbered(connection, number)

    def all(self) -> list[User]:
        """Every user that was ever made, oldest first."""
        with self._database.read() as connection:
            return [User.of(row) for row in connection.execute(select(tables.users).order_by(tables.users.c.number))]

    def exist(self) -> bool:
        """Whether a user was ever made. One that was disabled must not leave the door open."""
        with self._database.read() as connection:
            return connection.execute(select(tables.users.c.number).limit(1)).first() is not None

    def active(self) -> list[User]:
        return [user for user in self.all() if user.state == "active"]

    def operators(self) -> set[str]:
        """Who operates: active users of that role, and whoever sits at this machine."""
        return {LOCAL, *(user.name for user in self.active() if user.role == "operate")}

    def is_somebody(self, name: str) -> bool:
        """Whether it is a person's own name, in which no program may speak."""
        with self._database.read() as connection:
            return name == LOCAL or _row(connection, name) is not None

    def get(self, name: str) -> User:
        with self._database.read() as connection:
            return _named(connection, name)

    def verify(self, name: str, password: str) -> User | None:
        """Who signs in, if the password is right and the user is active. Takes as long whichever is wrong."""
        with self._database.read() as connection:
            row = _row(connection, name)
        right = passwords.matches(None if row is None else row.password, password)
        if row is None or not right or row.disabled is not None:
            return None
        if passwords.outdated(row.password):
            again = update(tables.users).where(tables.users.c.number == row.number)
            again = again.where(tables.users.c.password == row.password).values(password=passwords.hashed(password))
            with self._database.write() as connection:
                connection.execute(again)
        return User.of(row)

    def set_role(self, name: str, role: str) -> User:
        return self._change(name, role=_known(role))

    def set_password(self, name: str, password: str) -> User:
        """Ends the user's sessions; keys stay."""
        passwords.check(password, self.get(name).name)
        return self._change(name, end_sessions=True, password=passwords.hashed(password))

    def disable(self, name: str) -> User:
        """Ends the user's sessions and keys at once, also at servers that run."""
        return self._change(name, end_sessions=True, disabled=tables.now())

    def enable(self, name: str) -> User:
        return self._change(name, disabled=None)

    def _change(self, name: str, end_sessions: bool = False, **values: Any) -> User:
        with self._database.write() as connection:
            user = _named(connection, name)
            if end_sessions:
                values["generation"] = user.generation + 1
                sessions = tables.sessions
                connection.execute(delete(sessions).where(sessions.c.user_number == user.number))
            connection.execute(update(tables.users).where(tables.users.c.number == user.number).values(**values))
            return _numbered(connection, user.number)


def _known(role: str) -> str:
    if role not in ROLES:
        raise UserRefused(f"role {role!r} is none: {', '.join(ROLES)} (each may do what those before it may)")
    return role


def _row(connection: Connection, name: str) -> Row[Any] | None:
    same = tables.users.c.sign_in == passwords.folded(name)
    return connection.execute(select(tables.users).where(same)).one_or_none()


def _named(connection: Connection, name: str) -> User:
    row = _row(connection, name)
    if row is None:
        raise UserRefused(f"there is no user '{name}'. `homeroom users list` lists all.")
    return User.of(row)


def _numbered(connection: Connection, number: int) -> User:
    return User.of(connection.execute(select(tables.users).where(tables.users.c.number == number)).one())


def _holder_of_key(connection: Connection, name: str) -> bool:
    keys = tables.keys.c
    names = select(keys.name).where(keys.user_number.is_(None), keys.revoked.is_(None))
    return passwords.folded(name) in map(passwords.folded, connection.execute(names).scalars())
