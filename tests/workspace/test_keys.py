import hashlib
import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import select, update

from homeroom.workspace import KeyRefused, Workspace, tables
from homeroom.workspace.database import MIGRATIONS, Database


def test_a_key_is_found_until_it_is_revoked(workspace: Workspace) -> None:
    assert not workspace.keys.exist()
    ann, bob = workspace.keys.create("ann"), workspace.keys.create("小明")
    assert ann != bob
    assert len(ann) >= len("hr-") + 43  # 256 bits in base64
    assert [key.name for key in (workspace.keys.find(ann), workspace.keys.find(bob)) if key] == ["ann", "小明"]
    for wrong in ("", "hr-", ann[:-1], ann + "x", ann.upper(), "\ud800"):
        assert workspace.keys.find(wrong) is None
    assert workspace.keys.revoke("ann").state == "revoked"
    assert workspace.keys.find(ann) is None
    assert workspace.keys.find(bob) is not None
    assert [(key.name, key.state) for key in workspace.keys.all()] == [("ann", "revoked"), ("小明", "valid")]


def test_only_the_hash_is_at_rest(workspace: Workspace) -> None:
    secret = workspace.keys.create("ann")
    stored = b"".join(path.read_bytes() for path in workspace.path.glob("homeroom.sqlite*"))
    with workspace._database.read() as connection:
        stored += repr(connection.execute(select(tables.keys)).all()).encode()
    assert b"ann" in stored
    assert secret.encode() not in stored
    assert secret.removeprefix("hr-").encode() not in stored


def test_when_the_last_key_ends_the_door_stays_shut(workspace: Workspace) -> None:
    workspace.keys.create("ann")
    workspace.keys.revoke("ann")
    assert workspace.keys.exist()
    assert workspace.keys.valid() == []


def test_a_key_expires(workspace: Workspace) -> None:
    secret = workspace.keys.create("guest", days=1)
    assert workspace.keys.find(secret) is not None
    with workspace._database.write() as connection:
        connection.execute(update(tables.keys).values(expires=tables.now()))
    time.sleep(0.001)
    assert workspace.keys.find(secret) is None
    assert workspace.keys.all()[0].state == "expired"
    workspace.keys.create("guest")  # its place is free again


def test_a_name_is_one_persons(workspace: Workspace) -> None:
    old = workspace.keys.create("ann")
    with pytest.raises(KeyRefused, match=r"`homeroom keys revoke 'ann'`"):
        workspace.keys.create("ann")
    workspace.keys.revoke("ann")
    new = workspace.keys.create("ann")  # a key can be changed, and what was voted stays ann's
    assert workspace.keys.find(old) is None
    assert workspace.keys.find(new) is not None
    with pytest.raises(KeyRefused, match="no valid key 'bob'"):
        workspace.keys.revoke("bob")


@pytest.mark.parametrize(
    "name", ["", " ", "-x", "a\nb", "local", "api", "queue", "import", "visitor-1", "a" * 101, "a/b", "'"]
)
def test_a_name_that_would_be_another_users_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(KeyRefused, match="cannot be a key's name"):
        workspace.keys.create(name)
    assert not workspace.keys.exist()


def as_it_was(revision: str, tmp_path: Path, new_folder: Path) -> Path:
    """A workspace's folder with the tables of an earlier Homeroom."""
    folder = shutil.copytree(new_folder, tmp_path / "old")
    for path in folder.glob("homeroom.sqlite*"):
        path.unlink()
    database = Database(f"sqlite:///{folder / 'homeroom.sqlite'}", folder)
    with database.write() as connection:
        config = AlembicConfig(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("path_separator", "os")
        command.upgrade(config, revision)
    database.close()
    return folder


def test_a_key_of_before_there_were_users_works_on(tmp_path: Path, new_folder: Path) -> None:
    folder = as_it_was("0002", tmp_path, new_folder)
    old = sqlite3.connect(folder / "homeroom.sqlite")
    rows = [("gone", "0" * 64, "2024-01-02"), ("ann", hashlib.sha256(b"hr-secret").hexdigest(), None)]
    for name, hash, revoked in rows:
        row = (name, hash, "2024-01-01 00:00:00.000000", revoked and f"{revoked} 00:00:00.000000")
        old.execute("INSERT INTO keys (name, hash, at, revoked) VALUES (?, ?, ?, ?)", row)
    old.commit()
    old.close()
    with Workspace.open(folder) as workspace:
        ann = workspace.keys.find("hr-secret")
        assert ann is not None
        assert (ann.number, ann.who, ann.role, ann.state) == (2, "ann", "annotate", "valid")
        assert [key.state for key in workspace.keys.all()] == ["revoked", "valid"]


def test_a_workspace_of_before_there_were_keys_is_brought_up_to_date(tmp_path: Path, new_folder: Path) -> None:
    folder = as_it_was("0001", tmp_path, new_folder)
    old = sqlite3.connect(folder / "homeroom.sqlite")
    old.execute("INSERT INTO conversations (id, user, at) VALUES ('c', 'ann', '2024-01-01 00:00:00.000000')")
    old.commit()
    old.close()
    with Workspace.open(folder) as workspace:
        assert workspace.feedback.user_of("c") == "ann"
        secret = workspace.keys.create("ann")
        assert workspace.keys.find(secret) is not None
