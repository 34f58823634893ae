import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeroom.workspace import FLAGS, Workspace, WorkspaceError
from homeroom.workspace.exchange import FORMATS, Format, export
from homeroom.workspace.feedback import Feedback

ASKED = [{"role": "user", "content": "Why?"}]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: object) -> Path:
        path = tmp_path / f"{uuid.uuid4().hex}.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
        return path

    return write


def exported(workspace: Workspace, format: Format, path: Path) -> list[dict[str, Any]]:
    count = export(workspace.feedback, path, format)
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len(lines) == count
    return lines


def said(answer: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": answer}]


def test_every_way_to_write_a_pair_is_read(workspace: Workspace, write: Callable[..., Path], tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be brief."}
    path = write(
        {"prompt": "one?", "chosen": "yes", "rejected": "no"},
        {"prompt": [system, *ASKED], "chosen": said("yes"), "rejected": said("no")},
        {"messages": ASKED, "chosen": "yes", "rejected": "no", "source": "elsewhere"},
        {"chosen": [*ASKED, *said("y")], "rejected": [*ASKED, *said("n")]},
        {"prompt": ASKED, "chosen": [*ASKED, *said("so")], "rejected": [*ASKED, *said("or so")]},
        "",
    )
    done = workspace.import_feedback(path)
    assert (done.format, done.added, done.known, done.bad) == ("pairs", 5, 0, {})
    lines = exported(workspace, "pairs", tmp_path / "out.jsonl")
    assert [(line["messages"], line["chosen"], line["rejected"]) for line in lines] == [
        ([{"role": "user", "content": "one?"}], "yes", "no"),
        ([system, *ASKED], "yes", "no"),
        (ASKED, "yes", "no"),
        (ASKED, "y", "n"),
        (ASKED, "so", "or so"),
    ]
    assert {one.user for one in workspace.feedback.compared()} == {"import"}
    again = workspace.import_feedback(path)
    assert (again.added, again.known) == (0, 5)


def test_thumbs_are_read_in_both_ways(workspace: Workspace, write: Callable[..., Path]) -> None:
    path = write(
        {"messages": [*ASKED, *said("so")], "label": True},
        {"prompt": "Why?", "completion": " or so", "label": False},
        {"prompt": ASKED, "completion": said("else"), "label": True, "annotator": "a1"},
    )
    assert workspace.import_feedback(path, "others").added == 3
    votes = [(vote.answer, vote.value, vote.user, vote.history) for vote in workspace.feedback.votes()]
    assert votes == [
        ("so", 1, "others", ASKED), (" or so", -1, "others", ASKED), ("else", 1, "others-a1", ASKED)
    ]  # fmt: skip
    assert workspace.import_feedback(path, "others").known == 3


def test_bad_lines_are_named_and_good_ones_kept(workspace: Workspace, write: Callable[..., Path]) -> None:
    good = {"messages": ASKED, "answers": ["a", "b", "c"], "tiers": [[2], [0, 1]]}
    bad: list[tuple[object, str]] = [
        ("{", "no JSON"),
        ("[1]", "no JSON object"),
        ({"text": "x"}, "neither 'chosen' and 'rejected', nor 'label', nor 'answers' and 'tiers'"),
        ({"messages": [*ASKED, *said("x")], "label": True}, "it is of thumbs, the lines before are of rankings"),
        ({**good, "messages": []}, "may not be empty"),
        ({**good, "messages": said("x")}, "end with a question"),
        ({**good, "messages": [{"role": "user"}]}, "a message is"),
        ({**good, "messages": [{"role": "robot", "content": "x"}]}, "not 'robot'"),
        ({**good, "messages": [{"role": "user", "content": " "}]}, "a message is empty"),
        (
            {**good, "messages": [*ASKED, {"role": "system", "content": "Be brief."}, *ASKED]},
            "a system message comes first",
        ),
        ({key: value for key, value in good.items() if key != "messages"}, "no 'messages' and no 'prompt'"),
        ({**good, "answers": ["a", "a", "c"]}, "say the same"),
        ({**good, "answers": "abc"}, "list of texts"),
        ({**good, "tiers": [[0], [3]]}, "0 to 2"),
        ({**good, "tiers": [[0], [True]]}, "0 to 2"),
        ({**good, "messages": [{"role": "user", "content": "?"}], "tiers": [[0], [0]]}, "each answer once"),
        ({**good, "tiers": [0, 1]}, "list of lists"),
        ({**good, "flags": [["dull"], [], []]}, "not dull"),
        ({**good, "flags": []}, "as long as"),
        ({**good, "ideal_answer": 5}, "is a text"),
        ({**good, "id": "has space"}, "'id' is"),
        ({**good, "annotator": "x" * 41}, "'annotator' is"),
    ]
    done = workspace.import_feedback(write(good, *(line for line, _ in bad), {**good, "tiers": [[0, 1, 2]]}))
    assert (done.added, done.known) == (2, 0)
    assert list(done.bad) == list(range(2, len(bad) + 2))
    for (_, reason), told in zip(bad, done.bad.values(), strict=True):
        assert reason in told
    assert workspace.feedback.counts()["messages"] == 4  # nothing of a bad line stays
    (ranked,) = workspace.feedback.ranked()
    assert ranked.tiers == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"prompt": "?", "chosen": "a", "rejected": "a"}, "say the same"),
        ({"prompt": "?", "chosen": [*said("a"), *said("b")], "rejected": "c"}, "one message of the assistant's"),
        ({"chosen": [*ASKED, *said("a")], "rejected": said("b")}, "differ before the last message"),
        ({"prompt": "?", "chosen": 5, "rejected": "c"}, "list of messages"),
        ({"messages": ASKED, "label": True}, "one message of the assistant's"),
        ({"messages": [*ASKED, *said("x")], "label": 1}, "true or false"),
    ],
)
def test_what_is_no_judgement_is_named(
    workspace: Workspace, write: Callable[..., Path], line: object, reason: str
) -> None:
    done = workspace.import_feedback(write(line))
    assert reason in done.bad[1]
    assert workspace.feedback.counts()["conversations"] == 0


def test_all_that_people_said_becomes_pairs_without_their_names(workspace: Workspace, tmp_path: Path) -> None:
    feedback = workspace.feedback
    conversation = feedback.open_conversation(user="asker").id
    question = feedback.add_message(conversation, "user", "Why?").id
    a, b, c = (feedback.add_message(conversation, "assistant", t, parent_id=question).id for t in "abc")
    feedback.compare(a, b, "right", user="ann.smith")
    feedback.compare(a, c, "tie", user="ann.smith")
    feedback.rank(question, [[c], [a, b]], user="bob")
    feedback.vote_all([(a, 1, None), (b, -1, None)], user="cy")
    feedback.vote(c, -1, user="dan")  # others' thumbs compare nothing
    feedback.edit(b, "ideal", user="ann.smith")
    quiet = feedback.open_conversation(consent=False).id
    asked = feedback.add_message(quiet, "user", "secret").id
    one, two = (feedback.add_message(quiet, "assistant", text, parent_id=asked).id for text in "12")
    feedback.compare(one, two, "left")
    feedback.vote(one, 1)
    feedback.rank(asked, [[one], [two]])
    lines = exported(workspace, "pairs", tmp_path / "pairs.jsonl")
    pairs = [(line["annotator"], line["chosen"], line["rejected"]) for line in lines]
    assert sorted(pairs) == [
        ("a1", "b", "a"), ("a1", "ideal", "b"), ("a2", "c", "a"), ("a2", "c", "b"), ("a3", "a", "b")
    ]  # fmt: skip
    for format in FORMATS:
        assert exported(workspace, format, tmp_path / f"{format}.jsonl")
        text = (tmp_path / f"{format}.jsonl").read_text("utf-8")
        assert "ann" not in text.replace("annotator", "")
        assert "secret" not in text
    with pytest.raises(WorkspaceError, match="cannot be written"):
        export(feedback, tmp_path / "nowhere" / "x", "pairs")
    with pytest.raises(WorkspaceError, match="cannot be read"):
        workspace.import_feedback(tmp_path / "nowhere")


_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8).filter(
    lambda text: bool(text.strip())
)
_messages = st.lists(_text, min_size=1, max_size=3).map(
    lambda texts: [
        {"role": "user" if (len(texts) - n) % 2 else "assistant", "content": text} for n, text in enumerate(texts)
    ]
)


@st.composite
def _line(draw: st.DrawFn, format: str) -> dict[str, Any]:
    line: dict[str, Any] = {"messages": draw(_messages), "annotator": draw(st.sampled_from(["a1", "a2"]))}
    if format == "thumbs":
        line["messages"] += said(draw(_text))
        return line | {"label": draw(st.booleans())}
    answers = draw(st.lists(_text, min_size=2, max_size=4, unique=True))
    if format == "pairs":
        return line | {"chosen": answers[0], "rejected": answers[1]}
    tiers: list[list[int]] = []
    for place in range(len(answers)):
        if tiers and draw(st.booleans()):
            tiers[-1].append(place)
        else:
            tiers.append([place])
    flags = st.lists(st.sampled_from(FLAGS), unique=True).map(lambda each: sorted(each, key=FLAGS.index))
    line |= {"answers": answers, "tiers": tiers, "flags": [draw(flags) for _ in answers]}
    return line | ({"ideal_answer": draw(_text)} if draw(st.booleans()) else {})


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_goes_out_and_comes_in_is_the_same(
    format: Format, workspace: Workspace, other: Workspace, tmp_path: Path, data: st.DataObject
) -> None:
    lines = data.draw(st.lists(_line(format), min_size=1, max_size=5))
    for one in (workspace, other):
        for user in ("import", "import-a1", "import-a2"):
            one.forget(user)
    file, first, second = (tmp_path / f"{name}.jsonl" for name in ("file", "first", "second"))
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    done = workspace.import_feedback(file)
    assert (done.bad, done.added + done.known) == ({}, len(lines))
    out = exported(workspace, format, first)
    kept = [{key: value for key, value in line.items() if key not in ("id", "annotator")} for line in out]
    meant = [{k: v for k, v in line.items() if k != "annotator" and (k != "flags" or any(v))} for line in lines]
    assert all(one in meant for one in kept)
    assert other.import_feedback(first).added == len(out)
    assert exported(other, format, second) == out
    assert workspace.import_feedback(first).added == 0  # it knows its own


_place, _person = st.integers(0, 2), st.sampled_from(["ann", "bob"])
_judgement = st.one_of(
    st.tuples(st.just("vote"), _person, st.integers(0, 1), _place, st.sampled_from([1, 0, -1])),
    st.tuples(st.just("edit"), _person, st.integers(0, 1), _place, _text),
    st.tuples(st.just("rank"), _person, st.integers(0, 1), st.permutations(range(3)), st.integers(0, 2)),
    st.tuples(st.just("compare"), _person, st.integers(0, 1), _place, st.sampled_from(["left", "right", "tie"])),
)


def judge(feedback: Feedback, asked: list[tuple[str, list[str]]], one: tuple[Any, ...]) -> None:
    kind, user, number, which, what = one
    question, answers = asked[number]
    match kind:
        case "vote":
            feedback.vote(answers[which], what, user=user)
        case "edit":
            feedback.edit(answers[which], what, user=user)
        case "rank":
            order = [answers[place] for place in which]
            tiers = {0: [[one] for one in order], 1: [order[:1], order[1:]], 2: [order]}[what]
            feedback.rank(question, tiers, ideal_answer="ideal" if what else None, user=user)
        case "compare":
            feedback.compare(answers[which], answers[(which + 1) % 3], what, user=user)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(_judgement, max_size=12), after=st.lists(_judgement, max_size=4))
def test_what_comes_back_is_known_whatever_was_judged_and_changed_since(
    workspace: Workspace, tmp_path: Path, before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]
) -> None:
    for user in ("ann", "bob", "import"):
        workspace.forget(user)
    feedback, asked = workspace.feedback, list[tuple[str, list[str]]]()
    for _ in range(2):  # thumbs on answers in two conversations that ask the same are compared as well
        conversation, question = feedback.ask(None, "ann", "Why?", None)
        texts = ("a", "b", "c")
        ids = [feedback.add_message(conversation, "assistant", text, parent_id=question).id for text in texts]
        asked.append((question, ids))
    for one in before:
        judge(feedback, asked, one)
    counts = {format: export(feedback, tmp_path / format, format) for format in FORMATS}
    for one in after:
        judge(feedback, asked, one)
    there = feedback.counts()
    for format, count in counts.items():
        done = workspace.import_feedback(tmp_path / format)
        assert (done.added, done.known, done.bad) == (0, count, {})
    assert feedback.counts() == there


@pytest.fixture
def other(new_folder: Path, tmp_path: Path) -> Iterator[Workspace]:
    folder = shutil.copytree(new_folder, tmp_path / "other")
    with Workspace.open(folder, f"sqlite:///{folder / 'homeroom.sqlite'}") as opened:
        yield opened
