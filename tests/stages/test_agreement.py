"""Agreement of what is stored: ties are an opinion of their own, and who shares nothing has none."""

from pathlib import Path

from homeroom.stages.agreement import agreement
from homeroom.workspace import Workspace


def test_the_agreement_of_stored_rankings(tmp_path: Path) -> None:
    with Workspace.open(tmp_path) as workspace:
        assert agreement(workspace.feedback, "ann") == agreement(workspace.feedback, "nobody")
        for number in range(6):
            item = workspace.queue.add_item([{"role": "user", "content": f"{number}?"}], "abc", user="maker")
            a, b, c = item.answer_ids
            orders = {"ann": [[a], [b], [c]], "bob": [[a], [b], [c]], "eve": [[c], [b], [a]]}
            for user in ("ann", "bob", "eve") if number < 3 else ("ann", "bob"):
                workspace.feedback.rank(item.question_id, orders[user], user=user)
        found = agreement(workspace.feedback, "ann")
        assert (found.questions, found.persons) == (6, 3)
        assert found.alpha is not None
        assert found.own is not None
        assert found.alpha.low <= found.alpha.value <= found.alpha.high < 1
        assert (found.own.value, found.own.questions) == (0.75, 6)  # half of the others' pairs on three of the six
        eve = agreement(workspace.feedback, "eve").own
        assert eve is not None
        assert (eve.value, eve.questions) == (0.0, 3)
        workspace.feedback.rank(item.question_id, [[a, b, c]], user="ann")
        tied = agreement(workspace.feedback, "ann").own
        assert tied is not None
        assert tied.value == (3 * 0.5 + 2) / 6
