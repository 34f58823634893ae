import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeroom.settings import Frozen
from homeroom.workspace import Workspace


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


@pytest.fixture
def folder(new_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(new_folder, tmp_path / "workspace")


@pytest.fixture
def workspace(folder: Path) -> Iterator[Workspace]:
    with Workspace.open(folder) as opened:
        yield opened
