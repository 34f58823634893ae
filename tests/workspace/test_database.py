import hashlib
import shutil
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, inspect, select, text, update
from sqlalchemy.exc import IntegrityError

from homeroom.workspace import Workspace, WorkspaceError, WorkspaceTooNew, tables
from homeroom.workspace.database import HEAD, MIGRATIONS, Database


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_migrations_lead_to_the_tables_as_they_are(folder: Path, url: str) -> None:
    database = Database(url, folder)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        found = inspect(connection)
        for table in tables.metadata.sorted_tables:  # which compare_metadata leaves out
            checks = {
                constraint.name for constraint in table.constraints if "CheckConstraint" in repr(type(constraint))
            }
            assert {check["name"] for check in found.get_check_constraints(table.name)} == checks
            if url.startswith("sqlite"):
                assert ("AUTOINCREMENT" in sql_of(folder, table.name)) == ("number" in table.c)
    database.close()


def sql_of(folder: Path, table: str) -> str:
    connection = sqlite3.connect(folder / "homeroom.sqlite")
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [table]).fetchone()
    connection.close()
    return str(sql)


def test_head_is_the_newest_migration() -> None:
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_newer_workspace_is_refused_and_nothing_changed(folder: Path, url: str) -> None:
    database = Database(url, folder)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
        connection.execute(text("DROP TABLE votes"))
    database.close()
    shutil.rmtree(folder / "work")
    before = contents(folder)
    with pytest.raises(WorkspaceTooNew, match=r"a newer Homeroom made it \(its schema is 0999.*Nothing was changed"):
        Workspace.open(folder)
    assert contents(folder) == before
    with database.read() as connection:
        assert not inspect(connection).has_table("votes")
    database.close()
    assert not (folder / "work").exists()


def test_opening_one_that_is_up_to_date_is_quick(folder: Path) -> None:
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        Workspace.open(folder).close()
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.05


def test_opening_one_that_is_up_to_date_leaves_alembic_alone(folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from homeroom.workspace import Workspace; "
        "Workspace.open(Path(sys.argv[1])).close(); sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)


def test_two_processes_may_open_a_new_workspace_at_once(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from homeroom.workspace import Workspace; "
        "print('ready', flush=True); sys.stdin.readline(); Workspace.open(Path(sys.argv[1])).close()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "new")]
    openers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for opener in openers:
        assert opener.stdout is not None
        opener.stdout.readline()
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("go\n")
        opener.stdin.flush()
    assert [opener.communicate()[1] for opener in openers] == ["", "", ""]
    assert [opener.returncode for opener in openers] == [0, 0, 0]


def test_what_is_no_workspace_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(WorkspaceError, match=r"file cannot be opened"):
        Workspace.open(tmp_path / "file")
    (tmp_path / "homeroom.sqlite").write_text("This is not a database. " * 100)
    with pytest.raises(WorkspaceError, match="file is not a database"):
        Workspace.open(tmp_path)
    with pytest.raises(WorkspaceError, match="database URL 'nonsense' cannot be used"):
        Workspace.open(tmp_path / "other", database_url="nonsense")
    with pytest.raises(
        WorkspaceError, match=r"ada:\*\*\*@host/homeroom' cannot be used: sqlite:///PATH and postgresql"
    ):
        Workspace.open(tmp_path / "other", database_url="mysql://ada:secret@host/homeroom")
    with pytest.raises(WorkspaceError, match=r"ada:\*\*\*@localhost:1/homeroom cannot be reached") as refused:
        Workspace.open(tmp_path / "other", database_url="postgres://ada:secret@localhost:1/homeroom")
    assert "secret" not in str(refused.value)


def test_verify_looks_at_the_database_too(sqlite_folder: Path) -> None:
    folder = sqlite_folder
    with Workspace.open(folder) as workspace:
        for number in range(200):
            workspace.feedback.open_conversation(f"{number:0100d}")
    database = folder / "homeroom.sqlite"
    content = bytearray(database.read_bytes())
    at = content.rindex(b"0000042")
    content[at : at + 4000] = b"\xff" * 4000
    database.write_bytes(content)
    with Workspace.open(folder) as workspace:
        assert [damage.expected for damage in workspace.verify()] == ["a sound database"]


def test_a_reader_and_a_writer_do_not_wait_for_each_other(folder: Path, url: str) -> None:
    database = Database(url, folder)
    count = select(func.count()).select_from(tables.conversations)
    with Workspace.open(folder) as workspace, database.read() as connection:
        assert connection.execute(count).scalar() == 0
        began = time.perf_counter()
        workspace.feedback.open_conversation()
        assert time.perf_counter() - began < 5
        assert connection.execute(count).scalar() == 0  # one view, from its first look on
    with database.read() as connection:
        assert connection.execute(count).scalar() == 1
    database.close()


def test_what_refers_to_nothing_is_refused_by_the_database(folder: Path, url: str) -> None:
    database = Database(url, folder)
    row = {"id": "v", "message_id": "nobody", "user": "ada", "value": 1, "at": tables.now()}
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), database.write() as connection:
        connection.execute(tables.votes.insert().values(**row))
    database.close()


def test_a_database_elsewhere(tmp_path: Path) -> None:
    with Workspace.open(tmp_path / "w", f"sqlite:///{tmp_path / 'other.sqlite'}") as workspace:
        workspace.feedback.open_conversation()
    assert (tmp_path / "other.sqlite").exists()
    assert not (tmp_path / "w" / "homeroom.sqlite").exists()


def test_no_writer_comes_between_anothers_reads_and_writes(folder: Path, url: str) -> None:
    """Two that both add one to what they read, from databases of their own as two processes have them."""
    databases = [Database(url, folder) for _ in range(2)]
    with Workspace.open(folder) as workspace:
        workspace.feedback.open_conversation("c", user="0")

    def count(database: Database) -> None:
        for _ in range(25):
            with database.write() as connection:
                user = connection.execute(select(tables.conversations.c.user)).scalar_one()
                time.sleep(0.001)
                connection.execute(update(tables.conversations).values(user=str(int(user) + 1)))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(count, databases))
    with databases[0].read() as connection:
        assert connection.execute(select(tables.conversations.c.user)).scalar_one() == "50"
    for database in databases:
        database.close()


def test_the_environment_names_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEROOM_DATABASE_URL", f"sqlite:///{tmp_path / 'named.sqlite'}")
    Workspace.open(tmp_path / "w").close()
    assert (tmp_path / "named.sqlite").exists()
    Workspace.open(tmp_path / "w", f"sqlite:///{tmp_path / 'given.sqlite'}").close()
    assert (tmp_path / "given.sqlite").exists()
    assert not (tmp_path / "w" / "homeroom.sqlite").exists()


def test_a_server_that_ended_a_connection_is_found_again(folder: Path, url: str) -> None:
    with Workspace.open(folder) as workspace:
        workspace.feedback.open_conversation("before")
        if url.startswith("postgresql"):
            other = Database(url, folder)
            with other.write() as connection:
                ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                connection.execute(text(f"{ended} AND datname = current_database()"))
            other.close()
        workspace.feedback.open_conversation("after")
        assert len(workspace.feedback.conversations()) == 2
