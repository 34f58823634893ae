"""How far the people who rank agree: what is stored, measured by `homeroom.evaluation.annotators`.

The server, which may not know how agreement is measured, is handed this. It makes no artifact.
"""

from homeroom.evaluation.annotators import RankedList, ranking_agreement_by_person, ranking_alpha
from homeroom.serving.agreement import Agreement, Measure
from homeroom.workspace import Feedback


def agreement(feedback: Feedback, user: str) -> Agreement:
    """Of everybody, and of this user with the others. Rankings of which nobody may learn are left out."""
    lists = [
        RankedList(
            ranked.user,
            ranked.question_id,
            {ranked.answers[place].message_id: tier for tier, places in enumerate(ranked.tiers) for place in places},
        )
        for ranked in feedback.ranked()
    ]
    alpha, own = ranking_alpha(lists), ranking_agreement_by_person(lists).get(user)
    measured = None
    if alpha.alpha is not None and alpha.low is not None and alpha.high is not None:
        measured = Measure(alpha.alpha, alpha.low, alpha.high, alpha.items)
    mine = None if own is None else Measure(own.mean, own.low, own.high, own.n)
    return Agreement(alpha.items, alpha.persons, measured, mine)
