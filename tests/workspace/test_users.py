"""Users, their passwords and their sessions: what is kept, what is refused, and what ends with what."""

import contextlib
import time
from collections.abc import Callable

import pytest
from argon2 import PasswordHasher, extract_parameters
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from homeroom.workspace import Key, KeyRefused, PasswordRefused, User, UserRefused, Workspace, passwords, tables
from homeroom.workspace.users import ROLES, may

GOOD, OTHER = "seven grey otters hum", "七只灰水獭在河边哼着歌"


def test_each_role_may_do_what_the_lesser_may() -> None:
    assert [[may(role, needed) for needed in ROLES] for role in ("talk", "annotate", "operate")] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_a_user_signs_in_by_name_and_password(workspace: Workspace) -> None:
    assert not workspace.users.exist()
    ann = workspace.users.create("Ann", "operate", GOOD)
    assert (ann.name, ann.role, ann.state) == ("Ann", "operate", "active")
    workspace.users.create("小明", "talk", OTHER)
    for name in ("Ann", "ann", "ANN", "Ａｎｎ"):
        assert workspace.users.verify(name, GOOD) == ann
    for name, password in (
        ("Ann", OTHER),
        ("Ann", GOOD.upper()),
        ("Ann", ""),
        ("bob", GOOD),
        ("", ""),
        ("Ann", "\ud800"),
    ):
        assert workspace.users.verify(name, password) is None
    assert [user.name for user in workspace.users.all()] == ["Ann", "小明"]


def test_only_argon2s_hash_is_at_rest(workspace: Workspace) -> None:
    user = workspace.users.create("ann", "talk", GOOD)
    token = workspace.sessions.begin(user)
    files = b"".join(path.read_bytes() for path in workspace.path.glob("homeroom.sqlite*"))
    with workspace._database.read() as connection:
        rows = [row for table in tables.metadata.sorted_tables for row in connection.execute(select(table))]
        hash = connection.execute(select(tables.users.c.password)).scalar_one()
    assert hash.startswith("$argon2id$")
    for stored in (files.decode("utf-8", "replace"), str(rows)):
        assert GOOD not in stored
        assert token not in stored
    assert PasswordHasher().verify(hash, GOOD)  # as the library itself reads it
    assert extract_parameters(hash).memory_cost >= 19_456  # what OWASP asks for at least, in KiB


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "0 characters; 10 to 1,000"),
        ("short-1!x", "9 characters"),
        ("x" * 1001, "1,001 characters"),
        ("password123", "too common"),
        ("P@ssw0rd2024", "too common"),
        ("1234567890", "too common"),
        ("qwertyuiop[", "too common"),
        ("aaaaaaaaaaaaaa", "too common"),
        ("iloveyou2009", "too common"),
        ("homeroomhomeroom", "too common"),
        ("otters-of-Annabel-hum", "contains the name 'annabel'"),
        ("ａｎｎａｂｅｌ otters hum", "contains the name"),
    ],
)
def test_a_password_that_would_be_guessed_is_refused_and_not_repeated(
    workspace: Workspace, password: str, why: str
) -> None:
    with pytest.raises(PasswordRefused, match=why) as refused:
        workspace.users.create("annabel", "talk", password)
    assert not password or password not in str(refused.value)
    assert not workspace.users.exist()


def test_another_password_is_held_to_the_same(workspace: Workspace) -> None:
    workspace.users.create("annabel", "talk", GOOD)
    with pytest.raises(PasswordRefused, match="contains the name 'annabel'"):
        workspace.users.set_password("Annabel", "otters-of-Annabel-hum")
    assert workspace.users.verify("annabel", GOOD) is not None


@given(st.text(min_size=10, max_size=200))
def test_checking_never_fails_on_what_people_may_type(password: str) -> None:
    with contextlib.suppress(PasswordRefused):
        passwords.check(password, "annabel")


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "-x",
        "a\nb",
        "local",
        "LOCAL",
        "ａpi",
        "Queue",
        "import",
        "visitor-1",
        "a" * 101,
        "ß" * 51,
        "a/b",
        "<b>",
    ],
)
def test_a_name_that_would_be_another_users_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(UserRefused, match="cannot be a user's name"):
        workspace.users.create(name, "talk", GOOD)


def test_a_name_is_one_persons(workspace: Workspace) -> None:
    workspace.users.create("Ann", "talk", GOOD)
    with pytest.raises(UserRefused, match="there is a user 'ann' already"):
        workspace.users.create("ann", "operate", OTHER)
    with pytest.raises(UserRefused, match="no user 'bob'"):
        workspace.users.set_role("bob", "talk")
    with pytest.raises(UserRefused, match="role 'root' is none: talk, annotate, operate"):
        workspace.users.set_role("ann", "root")
    with pytest.raises(KeyRefused, match=r"keys create 'ann' --user 'Ann'"):
        workspace.keys.create("ann")
    workspace.keys.create("bob")
    with pytest.raises(UserRefused, match=r"keys revoke 'Bob'"):
        workspace.users.create("Bob", "talk", OTHER)


def test_a_key_of_a_user_has_the_users_name_and_role_as_they_are_now(workspace: Workspace) -> None:
    workspace.users.create("ann", "talk", GOOD)
    with pytest.raises(KeyRefused, match="no user 'bob'"):
        workspace.keys.create("laptop", user="bob")
    laptop, alone = workspace.keys.create("laptop", user="Ann"), workspace.keys.create("script")

    def seen(secret: str) -> tuple[str, str] | None:
        key = workspace.keys.find(secret)
        return None if key is None else (key.who, key.role)

    assert (seen(laptop), seen(alone)) == (("ann", "talk"), ("script", "annotate"))
    workspace.users.set_role("ann", "operate")
    assert (seen(laptop), seen(alone)) == (("ann", "operate"), ("script", "annotate"))
    workspace.users.disable("ann")
    assert (seen(laptop), [key.state for key in workspace.keys.all()]) == (None, ["disabled", "valid"])
    assert [key.name for key in workspace.keys.valid()] == ["script"]
    workspace.users.enable("ann")
    assert seen(laptop) == ("ann", "operate")


def test_a_hash_of_older_parameters_is_made_again_on_sign_in(workspace: Workspace) -> None:
    workspace.users.create("ann", "talk", GOOD)
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(GOOD)

    def kept(new: str | None = None) -> str:
        with workspace._database.write() as connection:
            if new is not None:
                connection.execute(update(tables.users).values(password=new))
            return connection.execute(select(tables.users.c.password)).scalar_one()

    kept(old)
    assert workspace.users.verify("ann", OTHER) is None
    assert kept() == old
    assert workspace.users.verify("ann", GOOD) is not None
    again = kept()
    assert extract_parameters(again) == extract_parameters(passwords.hashed(GOOD))
    assert workspace.users.verify("ann", GOOD) is not None
    assert kept() == again


def test_as_much_work_for_a_name_that_is_nobodys(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.users.create("ann", "talk", GOOD)
    workspace.users.create("bob", "talk", GOOD)
    workspace.users.disable("bob")
    workspace.users.verify("nobody", "x")  # the hash that nobody's password is compared with is made once
    work: list[str] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, hash: str, password: bytes) -> bool:
        parameters = extract_parameters(hash)
        work.append(f"{parameters.memory_cost} {parameters.time_cost} {parameters.parallelism}")
        return verify(self, hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    for name, password in (("ann", "wrong"), ("nobody", "wrong"), ("bob", GOOD), ("ann", "x" * 5000)):
        assert workspace.users.verify(name, password) is None
    assert len(work) == 4
    assert len(set(work)) == 1


def begun(workspace: Workspace) -> tuple[User, str]:
    user = workspace.users.create("ann", "annotate", GOOD)
    return user, workspace.sessions.begin(user)


def test_a_session_outlives_the_server_and_no_longer_than_its_time(workspace: Workspace) -> None:
    ann, token = begun(workspace)
    with Workspace.open(workspace.path) as another:
        found = another.sessions.find(token)
        assert found is not None
        assert found.holder == ann
    assert workspace.sessions.last_used().keys() == {ann.number}
    for wrong in ("", token[:-1], token + "x", found.form_token, "\ud800"):
        assert workspace.sessions.find(wrong) is None
    with workspace._database.write() as connection:
        connection.execute(update(tables.sessions).values(expires=tables.now()))
    time.sleep(0.001)
    assert workspace.sessions.find(token) is None
    workspace.sessions.begin(ann)
    with workspace._database.read() as connection:
        assert len(connection.execute(select(tables.sessions)).all()) == 1  # what expired is not kept


@pytest.mark.parametrize(
    "end",
    [
        lambda w, token: w.sessions.end(token),
        lambda w, token: w.users.disable("ann"),
        lambda w, token: w.users.set_password("ann", OTHER),
        lambda w, token: (w.users.disable("ann"), w.users.enable("ann")),
    ],
)
def test_what_ends_a_session_ends_it_at_once(workspace: Workspace, end: Callable[[Workspace, str], object]) -> None:
    _, token = begun(workspace)
    workspace.users.set_role("ann", "talk")
    found = workspace.sessions.find(token)
    assert found is not None
    assert isinstance(found.holder, User)
    assert found.holder.role == "talk"
    end(workspace, token)
    assert workspace.sessions.find(token) is None


def test_who_was_disabled_between_password_and_session_gets_none(workspace: Workspace) -> None:
    workspace.users.create("ann", "talk", GOOD)
    verified = workspace.users.verify("ann", GOOD)
    assert verified is not None
    workspace.users.set_password("ann", OTHER)
    assert workspace.sessions.find(workspace.sessions.begin(verified)) is None


def test_a_session_of_a_key_ends_with_the_key(workspace: Workspace) -> None:
    key = workspace.keys.find(workspace.keys.create("ann"))
    assert key is not None
    token = workspace.sessions.begin(key)
    found = workspace.sessions.find(token)
    assert found is not None
    assert isinstance(found.holder, Key)
    assert found.holder.who == "ann"
    assert workspace.sessions.last_used() == {}
    workspace.keys.revoke("ann")
    assert workspace.sessions.find(token) is None


def test_when_a_session_was_used_is_kept_to_the_minute(workspace: Workspace) -> None:
    ann, token = begun(workspace)

    def used() -> str:
        return workspace.sessions.last_used()[ann.number]

    first = used()
    workspace.sessions.find(token)
    assert used() == first
    with workspace._database.write() as connection:
        connection.execute(update(tables.sessions).values(used="2024-01-01T00:00:00.000000+00:00"))
    workspace.sessions.find(token)
    assert used() > first
