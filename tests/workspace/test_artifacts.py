import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, event

from homeroom.files import sha256
from homeroom.settings import Frozen
from homeroom.workspace import Artifact, MissingArtifact, Workspace, tables
from homeroom.workspace.artifacts import identity


class Config(Frozen):
    steps: int = 3
    note: str = ""


def make(workspace: Workspace, steps: int = 3, stage: str = "clean", inputs: list[Artifact] | None = None) -> Artifact:
    with workspace.publish(stage, Config(steps=steps), inputs or []) as draft:
        (draft.path / "weights").mkdir(exist_ok=True)
        (draft.path / "weights" / "model.bin").write_bytes(bytes(range(256)) * steps)
        (draft.path / "text.txt").write_text("画蛇添足\n", encoding="utf-8")
        draft.metrics["documents"] = steps
    return draft.artifact


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_was_published_is_found_the_same_after_opening_again(folder: Path) -> None:
    with Workspace.open(folder) as workspace:
        first = make(workspace)
        second = make(workspace, stage="tokenize", inputs=[first])
    with Workspace.open(folder) as workspace:
        assert workspace.find("clean", Config()) == first
        assert workspace.find("tokenize", Config(), [first]) == second
        assert workspace.latest("tokenize") == second == workspace.artifacts.get(second.id)
        assert second.inputs == (first.id,)
        assert set(second.files) == {"text.txt", "weights/model.bin"}
        assert second.metrics == {"documents": 3}
        assert second.settings == {"steps": 3, "note": ""}
        assert second.path == folder / "artifacts" / second.id
        assert workspace.verify() == []


@given(
    one=st.tuples(st.sampled_from(["clean", "sft"]), st.integers(0, 2), st.text(max_size=2), st.integers(1, 2)),
    other=st.tuples(st.sampled_from(["clean", "sft"]), st.integers(0, 2), st.text(max_size=2), st.integers(1, 2)),
    inputs=st.lists(st.sampled_from(["a-1", "b-2"]), max_size=2),
    other_inputs=st.lists(st.sampled_from(["a-1", "b-2"]), max_size=2),
)
def test_identity_is_the_same_exactly_when_everything_is(
    one: tuple[str, int, str, int],
    other: tuple[str, int, str, int],
    inputs: list[str],
    other_inputs: list[str],
) -> None:
    def name(described: tuple[str, int, str, int], inputs: list[str]) -> str:
        stage, steps, note, version = described
        return identity(stage, Config(steps=steps, note=note), inputs, version)

    assert (name(one, inputs) == name(other, other_inputs)) == ((one, inputs) == (other, other_inputs))


def test_identity_does_not_change_with_releases() -> None:
    assert identity("pretrain", Config(steps=3), ["tokenize-0a"], 1) == "pretrain-13439f8fda27"


def test_latest_is_the_one_made_or_found_again_last(workspace: Workspace) -> None:
    small, large = make(workspace, 3), make(workspace, 4)
    assert workspace.latest("clean") == large
    assert workspace.find("clean", Config(steps=3)) == small
    assert workspace.latest("clean") == small
    assert [a.id for a in workspace.artifacts.all()] == [large.id, small.id]


def test_all_are_read_at_once(workspace: Workspace) -> None:
    made = [make(workspace, steps) for steps in (3, 4, 5)]
    transactions: list[Connection] = []
    event.listen(workspace._database._engine, "begin", transactions.append)
    assert workspace.artifacts.all() == made
    assert len(transactions) == 1


def test_missing_says_what_to_run(workspace: Workspace) -> None:
    with pytest.raises(MissingArtifact, match="Run `homeroom sft` first"):
        workspace.latest("sft")
    with pytest.raises(MissingArtifact, match="Those of its stage: none"):
        workspace.artifacts.get("sft-000000000000")


def test_verify_names_each_damaged_file(workspace: Workspace) -> None:
    sound, hurt, gone = make(workspace, 3), make(workspace, 4), make(workspace, 5)
    model = hurt.path / "weights" / "model.bin"
    content = bytearray(model.read_bytes())
    content[100] ^= 1
    model.write_bytes(content)
    (hurt.path / "text.txt").unlink()
    manifest = json.loads((hurt.path / "manifest.json").read_text())
    (hurt.path / "manifest.json").write_text(json.dumps(manifest | {"metrics": {"documents": 999}}))
    gone.path.rename(workspace.path / "elsewhere")
    found = {(damage.artifact_id, damage.file): damage for damage in workspace.verify()}
    assert set(found) == {
        (hurt.id, "weights/model.bin"),
        (hurt.id, "text.txt"),
        (hurt.id, "manifest.json"),
        (gone.id, "."),
    }
    assert found[hurt.id, "weights/model.bin"].expected == hurt.files["weights/model.bin"].sha256
    assert found[hurt.id, "text.txt"].found == "missing"
    assert workspace.artifacts.get(sound.id) == sound


def test_verify_names_a_folder_without_a_readable_manifest(workspace: Workspace) -> None:
    (workspace.artifacts.folder / "clean-0123").mkdir()
    (workspace.artifacts.folder / "clean-0123" / "manifest.json").write_text("{")
    assert [(damage.artifact_id, damage.file) for damage in workspace.verify()] == [("clean-0123", "manifest.json")]


def test_what_is_published_while_verify_hashes_is_no_damage(workspace: Workspace, monkeypatch: Any) -> None:
    make(workspace, 3)
    unrecorded = make(workspace, 4)  # as between a publisher's rename and its record
    with workspace._database.write() as connection:
        connection.execute(tables.artifacts.delete().where(tables.artifacts.c.id == unrecorded.id))

    def slow(path: Path) -> str:
        if workspace.find("clean", Config(steps=5)) is None:
            make(workspace, 5)
        return sha256(path)

    monkeypatch.setattr("homeroom.workspace.artifacts.sha256", slow)
    assert workspace.verify() == []
    assert len(workspace.artifacts.all()) == 2


def test_what_was_made_again_since_it_was_found_damaged_stays(workspace: Workspace) -> None:
    again, hurt = make(workspace, 3), make(workspace, 4)
    for artifact in (again, hurt):
        (artifact.path / "text.txt").write_text("changed")
    damages = workspace.verify()
    workspace.artifacts.set_aside(again.id)
    make(workspace, 3)
    assert list(workspace.artifacts.set_aside_all(damages)) == [hurt.id]
    assert workspace.find("clean", Config()) is not None


def test_a_missing_folder_is_not_found_and_can_be_made_again(workspace: Workspace) -> None:
    artifact = make(workspace)
    artifact.path.rename(workspace.path / "elsewhere")
    assert workspace.find("clean", Config()) is None
    with pytest.raises(MissingArtifact, match=f"{artifact.id} is the latest of clean, but its folder"):
        workspace.latest("clean")
    assert make(workspace).files == artifact.files
    assert workspace.verify() == []


@pytest.mark.parametrize("manifest", [None, "{", '{"id": "clean-x"}', "[]"])
def test_a_folder_that_lost_its_manifest_makes_way(workspace: Workspace, manifest: str | None) -> None:
    artifact = make(workspace)
    (artifact.path / "manifest.json").unlink()
    assert workspace.find("clean", Config()) is None
    assert make(workspace).files == artifact.files
    assert (workspace.path / "set-aside" / f"{artifact.id}.1" / "text.txt").exists()


def test_a_damaged_artifact_set_aside_is_made_again(workspace: Workspace) -> None:
    artifact = make(workspace)
    (artifact.path / "text.txt").write_text("changed")
    aside = workspace.artifacts.set_aside(artifact.id)
    assert (aside / "text.txt").read_text() == "changed"
    assert make(workspace).files == artifact.files
    assert workspace.verify() == []
    with pytest.raises(MissingArtifact, match="has no folder"):
        workspace.artifacts.set_aside("../work")


def test_a_lost_database_is_made_again_from_the_folders_and_says_what_is_gone(
    folder: Path, lose_database: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with Workspace.open(folder) as workspace:
        made = [make(workspace, steps) for steps in (5, 4, 3)]
    lose_database()
    before = everything(folder / "artifacts")
    capsys.readouterr()
    with Workspace.open(folder) as workspace:
        assert workspace.artifacts.all() == made
        assert workspace.verify() == []
    said = "".join(capsys.readouterr())
    assert "3 artifacts were recorded anew" in said
    assert "conversations and votes are lost" in " ".join(said.split())
    Workspace.open(folder).close()
    assert "".join(capsys.readouterr()) == ""
    assert everything(folder / "artifacts") == before
