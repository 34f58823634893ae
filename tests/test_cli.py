"""The command line: fast help, errors in one line, and what a person reads of a workspace."""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from homeroom import cli
from homeroom.cli.main import _between
from homeroom.evaluation.trial import TrialSettings
from homeroom.settings import Frozen
from homeroom.stages import CIRCLE
from homeroom.workspace import Workspace
from homeroom.workspace.errors import Damaged, MissingArtifact


class Settings(Frozen):
    depth: int = 4


def homeroom(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Holds two models, the second of them champion."""
    path = tmp_path / "w"
    with Workspace.open(path) as opened:
        for depth in (1, 2):
            with opened.publish("sft", Settings(depth=depth)) as draft:
                (draft.path / "model.txt").write_text("weights")
                draft.metrics["examples"] = 900
            opened.registry.promote(draft.artifact.id, {"reasons": ["better"]})
    return path


def test_it_is_a_module_too() -> None:
    run = subprocess.run([sys.executable, "-m", "homeroom", "--help"], capture_output=True, text=True, check=True)
    assert "python -m homeroom" in run.stdout
    assert "improve" in run.stdout


def test_help_and_status_do_not_load_torch(workspace: Path) -> None:
    asked = """
import sys
from typer.testing import CliRunner
from homeroom import cli
for arguments in (["--help"], ["run", "--help"], ["status"], ["status", "--json"], ["trial"], ["report", "--no-open"]):
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0, arguments
assert "torch" not in sys.modules
"""
    environment = os.environ | {"HOMEROOM_WORKSPACE": str(workspace)}
    command = [sys.executable, "-c", asked]
    subprocess.run(command, check=True, timeout=60, env=environment)
    with Workspace.open(workspace) as opened:
        candidate = next(one.id for one in opened.artifacts.all() if one.id != opened.registry.champion())
        opened.registry.begin_trial(candidate, {"settings": TrialSettings().model_dump(mode="json"), "despite": []})
    subprocess.run(command, check=True, timeout=60, env=environment)
    assert "on trial" in homeroom("status", "-w", workspace).output


def test_every_stage_has_a_command_with_an_example() -> None:
    told = homeroom("--help").output
    for stage in CIRCLE:
        assert stage in told
        assert "Example: homeroom" in homeroom(stage, "--help").output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "nowhere.toml"], "recipe nowhere.toml: no such file"),
        (["run", "nowhere.toml", "--from", "colect"], "--from colect: not a stage. The circle is collect"),
        (["run", "nowhere.toml", "--from", "ppo", "--until", "sft"], "--from ppo comes after --until sft"),
        (
            ["status", "-w", "nowhere"],
            "workspace nowhere: not there. Run `homeroom import smollm2 --workspace nowhere` or",
        ),
        (["explain", "colect"], "Did you mean 'collect'?"),
    ],
)
def test_an_error_is_one_line_and_exit_1(arguments: list[str], expected: str, tmp_path: Path) -> None:
    result = homeroom(*arguments)
    assert result.exit_code == 1
    assert expected in result.stderr
    assert "Traceback" not in result.output
    assert not Path("nowhere").exists()


def test_ctrl_c_says_that_it_goes_on_and_exits_130(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Workspace, "verify", interrupted)
    result = homeroom("verify", "-w", workspace)
    assert result.exit_code == 130
    assert "the same command goes on where it stood" in result.stderr


def test_status_names_champion_and_figures(workspace: Path) -> None:
    told = homeroom("status", "-w", workspace).output
    assert "← champion" in told
    assert "900 demonstrations" in told
    assert "circle_seconds" in told
    parsed = json.loads(homeroom("status", "--json", "-w", workspace).stdout)
    assert parsed["figures"]["ppo_win_rate"] is None
    assert len(parsed["artifacts"]) == 2


def test_rollback_restores_the_previous_champion_once(workspace: Path) -> None:
    with Workspace.open(workspace) as opened:
        first = opened.registry.history()[0].artifact_id
    assert f"champion is {first} again" in homeroom("rollback", "-w", workspace).output
    again = homeroom("rollback", "-w", workspace)
    assert again.exit_code == 1
    assert "nothing to roll back to" in again.stderr


def test_a_rollback_is_taken_back_by_hand_and_the_record_says_so(workspace: Path) -> None:
    with Workspace.open(workspace) as opened:
        first, second = (decision.artifact_id for decision in opened.registry.history())
    assert homeroom("champion", "-w", workspace).output.strip() == second
    homeroom("rollback", "-w", workspace)
    told = homeroom("champion", second[:-3], "--reason", "a mistake", "-w", workspace).output
    assert f"champion is {second}, in place of {first}. `homeroom rollback` undoes it" in told
    with Workspace.open(workspace) as opened:
        rolled_back, promoted = opened.registry.history()[-2:]
    assert (rolled_back.verdict["by"], promoted.verdict["by"]) == ("the command line", "the command line")
    assert promoted.verdict["reasons"] == ["by hand, the command line", "a mistake"]
    again = homeroom("champion", second, "-w", workspace)
    assert (again.exit_code, "is the champion already" in again.stderr) == (1, True)


def test_verify_names_the_damaged_file(workspace: Path) -> None:
    assert "all 2 artifacts are as they were made" in homeroom("verify", "-w", workspace).output
    damaged = next(workspace.glob("artifacts/*/model.txt"))
    damaged.write_text("Weights")
    result = homeroom("verify", "-w", workspace)
    assert result.exit_code == 1
    assert f"{damaged.parent.name}/model.txt" in result.output


def test_what_is_damaged_is_set_aside_and_made_again(workspace: Path) -> None:
    damaged = next(workspace.glob("artifacts/*/model.txt"))
    damaged.write_text("Weights")
    name = damaged.parent.name
    assert "verify --set-aside" in homeroom("verify", "-w", workspace).stderr
    result = homeroom("verify", "--set-aside", "-w", workspace)
    assert result.exit_code == 0
    assert f"set-aside/{name}.1. Run `homeroom sft` to make it again" in result.output
    assert (workspace / "set-aside" / f"{name}.1" / "model.txt").read_text() == "Weights"
    with Workspace.open(workspace) as opened:
        depth = 1 if opened.find("sft", Settings(depth=1)) is None else 2
        with opened.publish("sft", Settings(depth=depth)) as draft:
            (draft.path / "model.txt").write_text("weights")
        assert draft.id == name
    assert "all 2 artifacts are as they were made" in homeroom("verify", "-w", workspace).output


def test_a_damaged_champion_is_left_by_the_way_back(workspace: Path) -> None:
    with Workspace.open(workspace) as opened:
        first, second = opened.artifacts.all()
        opened.registry.promote(first.id, {})
        opened.registry.promote(second.id, {}, over=first.id)
        (second.path / "model.txt").write_text("Weights")
        with pytest.raises(Damaged, match=r"not as it was published.*It is the champion: `homeroom rollback`"):
            opened.champion()
    assert "It was the champion: `homeroom rollback`" in homeroom("verify", "--set-aside", "-w", workspace).output
    with Workspace.open(workspace) as opened:
        with pytest.raises(MissingArtifact, match="`homeroom rollback` makes the one before it champion again"):
            opened.champion()
        assert homeroom("rollback", "-w", workspace).exit_code == 0
        assert opened.champion() == first


def test_tidying_names_what_it_removes(workspace: Path) -> None:
    with (
        Workspace.open(workspace) as opened,
        contextlib.suppress(KeyboardInterrupt),
        opened.publish("sft", Settings(depth=9)) as draft,
    ):
        raise KeyboardInterrupt
    assert homeroom("verify", "-w", workspace).exit_code == 0
    assert draft.path.is_dir()
    assert f"removed work/{draft.id}" in homeroom("verify", "--tidy", "-w", workspace).output
    assert not draft.path.exists()


def test_the_range_of_stages_is_inclusive() -> None:
    assert _between("sft", "reward") == ["sft", "rankings", "reward"]
    assert _between(None, None) == list(CIRCLE)


def test_report_is_written_into_the_workspace(workspace: Path) -> None:
    assert homeroom("report", "-w", workspace, "--no-open").exit_code == 0
    assert (workspace / "report.html").stat().st_size > 10_000


def test_explain_lists_the_stages_or_a_stages_keys() -> None:
    stages = homeroom("explain").stdout
    assert all(name in stages for name in (*CIRCLE, "serve"))
    assert "base_questions" in homeroom("explain", "evaluate").stdout


def test_one_command_makes_the_first_operator(workspace: Path) -> None:
    first, second = "seven grey otters hum", "nine slow herons wade"

    def users(*arguments: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(cli.app, ["users", *arguments, "-w", str(workspace)], input=typed)

    made = users("create", "ann", "--role", "operate", "--password-stdin", typed=f"{first}\n")
    assert (made.exit_code, made.output) == (0, "ann may operate\n")
    weak = users("create", "bob", "--password-stdin", typed="password123\n")
    assert (weak.exit_code, "too common" in weak.stderr, "password123" in weak.output) == (1, True, False)
    nowhere = users("create", "bob", typed=f"{first}\n{first}\n")
    assert (nowhere.exit_code, "--password-stdin" in nowhere.stderr) == (1, True)
    assert users("create", "bob", "--role", "root", "--password-stdin", typed=first).exit_code == 1
    assert homeroom("keys", "create", "laptop", "--user", "ann", "-w", workspace).exit_code == 0
    assert re.search(r"laptop +ann +operate", homeroom("keys", "list", "-w", workspace).output)
    with Workspace.open(workspace) as opened:
        user = opened.users.verify("ann", first)
        assert user is not None
        token = opened.sessions.begin(user)
        assert re.search(rf"ann +operate +\S+ +{user.at[:11]}\S+ +active", users("list").output)
        assert users("role", "ann", "talk").output == "ann may talk\n"
        assert opened.sessions.find(token) is not None
        changed = users("password", "ann", "--password-stdin", typed=f"{second}\n")
        assert "sessions of ann have ended" in changed.output
        assert opened.sessions.find(token) is None
        assert opened.users.verify("ann", second) is not None
        disabled = users("disable", "ann").output
        assert "ann is disabled" in disabled
        assert "Nobody is left who operates" in disabled
        assert opened.users.verify("ann", second) is None
        assert "ann may talk again" in users("enable", "ann").output
        assert opened.users.verify("ann", second) is not None
    nobody = users("password", "bob", "--password-stdin", typed=second)
    assert (nobody.exit_code, "no user 'bob'" in nobody.stderr) == (1, True)
    assert first not in users("list").output


def test_the_password_is_asked_for_twice(workspace: Path) -> None:
    script = "from homeroom.cli import main; main()"
    terminal, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script, "users", "create", "ann", "-w", str(workspace)],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    for asked, typed in (
        (b"Password of ann:", "seven grey otters hum"),
        (b"The same again:", "seven grey otters hmu"),
        (b"Password of ann:", "seven grey otters hum"),
        (b"The same again:", "seven grey otters hum"),
    ):
        while not seen.endswith(asked + b" "):  # the space comes when what is typed is no longer shown
            seen += os.read(terminal, 1)
        os.write(terminal, f"{typed}\n".encode())
    with contextlib.suppress(OSError):  # how a terminal says that the other side is gone
        while more := os.read(terminal, 1000):
            seen += more
    assert process.wait(30) == 0
    os.close(terminal)
    assert b"otters" not in seen
    with Workspace.open(workspace) as opened:
        assert opened.users.verify("ann", "seven grey otters hum") is not None


def test_a_key_is_shown_once_listed_and_revoked(workspace: Path) -> None:
    made = homeroom("keys", "create", "ann", "--expires", "30", "-w", workspace)
    assert made.exit_code == 0
    secret = made.stdout.strip()
    assert secret.startswith("hr-")
    assert "not shown again" in made.stderr
    with Workspace.open(workspace) as opened:
        assert opened.keys.find(secret) is not None
    listed = homeroom("keys", "list", "-w", workspace)
    assert "ann" in listed.output
    assert "valid" in listed.output
    assert secret not in listed.output
    assert "ann is revoked" in homeroom("keys", "revoke", "ann", "-w", workspace).output
    assert "revoked" in homeroom("keys", "list", "-w", workspace).output
    again = homeroom("keys", "revoke", "ann", "-w", workspace)
    assert (again.exit_code, "no valid key 'ann'" in again.stderr) == (1, True)
    assert "homeroom keys create ann" in homeroom("keys", "--help").output


def test_feedback_comes_in_goes_out_and_is_deleted(workspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    lines = [{"prompt": "Why?", "chosen": "so", "rejected": "or so"}, {"prompt": "Why?"}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = homeroom("feedback", "import", file, "--user", "ann", "-w", workspace)
    assert (done.exit_code, done.stdout) == (0, "1 pairs added, 0 were there already, 1 bad lines left out\n")
    assert "line 2: it has neither 'chosen' and 'rejected'" in done.stderr
    assert "0 pairs added, 1 were" in homeroom("feedback", "import", file, "--user", "ann", "-w", workspace).stdout
    written = homeroom("feedback", "export", tmp_path / "out.jsonl", "--format", "pairs", "-w", workspace)
    assert "1 pairs in" in written.stdout
    assert json.loads((tmp_path / "out.jsonl").read_text())["chosen"] == "so"
    with Workspace.open(workspace) as opened:
        vote = opened.feedback.compared()[0]
        with opened.publish("harvest", Settings(depth=3)) as harvest:
            (harvest.path / "sources.jsonl").write_text(json.dumps({"comparison_id": vote.id}) + "\n")
        with opened.publish("improve", Settings(depth=3), [harvest.artifact]) as model:
            (model.path / "model.safetensors").write_text("weights")
    kept = CliRunner().invoke(cli.app, ["feedback", "delete", "ann", "-w", str(workspace)], input="n\n")
    assert kept.exit_code == 1
    with Workspace.open(workspace) as opened:
        assert len(opened.feedback.compared()) == 1
    gone = homeroom("feedback", "delete", "ann", "--yes", "-w", workspace)
    assert gone.stdout.splitlines() == [
        "deleted 1 comparisons, 3 messages, 1 conversations",
        f"artifact {harvest.artifact.id} was made of it",
        f"model {model.artifact.id} was made of it",
    ]
    nothing = homeroom("feedback", "delete", "ann", "--yes", "-w", workspace)
    assert (nothing.exit_code, "nothing of a user 'ann'" in nothing.stderr) == (1, True)
    (tmp_path / "bad.jsonl").write_text("{\n" * 30)
    bad = homeroom("feedback", "import", tmp_path / "bad.jsonl", "-w", workspace)
    assert (bad.exit_code, "and 10 lines more" in bad.stderr) == (1, True)
    assert "feedback delete ann" in homeroom("feedback", "--help").output


def test_a_model_is_put_on_trial_and_taken_off_it(workspace: Path) -> None:
    with Workspace.open(workspace) as opened:
        champion = opened.registry.champion()
        candidate = next(artifact.id for artifact in opened.artifacts.all() if artifact.id != champion)

    def trial(*arguments: str) -> Result:
        return homeroom("trial", *arguments, "-w", workspace)

    assert "no model is on trial" in trial().output
    for arguments, said in (
        ((candidate,), "no gate has measured it. `--anyway` asks people nevertheless"),
        ((candidate, "--stop"), "leave the model out"),
        ((candidate, "--maximum", "3"), "votes_per_person = 10 would let one person decide"),
        (("--stop",), "no model is on trial"),
        (("sft-nothing",), "is no model of this workspace"),
    ):
        refused = trial(*arguments)
        assert (refused.exit_code, said in refused.output) == (1, True), refused.output
    assert trial(candidate, "--anyway", "--alone", "--maximum", "30").exit_code == 0
    for told in (trial().output, homeroom("status", "-w", workspace).output):
        assert f"{candidate} against {champion}" in told
        assert "at most 30" in told
    shown = json.loads(homeroom("status", "--json", "-w", workspace).stdout)["trial"]
    assert (shown["candidate"], shown["champion"], shown["verdict"]) == (candidate, champion, "open")
    assert "a person stopped the trial" in trial("--stop").output
    assert json.loads(homeroom("status", "--json", "-w", workspace).stdout)["trial"] is None
