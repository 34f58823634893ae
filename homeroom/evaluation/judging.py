"""Graders of answers: the independent judge, chrF against the reference answer, the question's task, and manners.

The judge is a reward model trained on other questions with another seed; the one that PPO trained on never
judges. Answers come from `answers.py`, what the grades say about two models from `comparison.py`.
"""

from collections.abc import Sequence

from sacrebleu.metrics import CHRF

from homeroom.evaluation.answers import Answer
from homeroom.models.heads import RewardModel
from homeroom.settings import Frozen
from homeroom.tasks.base import Question
from homeroom.tasks.manners import in_language, is_rude, repeats
from homeroom.tasks.questions import grade
from homeroom.text.chat_template import prompt_ids, with_answer
from homeroom.text.tokenizer import Tokenizer

READ_AT_ONCE = 16  # answers: of 64 those of a large model take half a gigabyte


class Judged(Frozen):
    """One answer with its grades. Only differences between `judge` scores of one question mean something."""

    question_id: str
    document_id: str
    kind: str
    text: str
    tokens: int
    ended: bool
    in_language: bool
    repeats: bool
    rude: bool
    chrf: float
    grade: float
    judge: float


def judge_answers(
    questions: Sequence[Question], answers: Sequence[Answer], judge: RewardModel, tokenizer: Tokenizer
) -> list[Judged]:
    """Every grade of every answer, in the order given."""
    scores = judge_scores(questions, answers, judge, tokenizer)
    chrf = CHRF()
    return [
        Judged(
            question_id=question.id,
            document_id=question.document_id,
            kind=question.kind,
            text=answer.text,
            tokens=len(answer.token_ids),
            ended=answer.ended,
            in_language=in_language(answer.text, question.language),
            repeats=repeats(answer.text),
            rude=is_rude(answer.text),
            chrf=float(chrf.sentence_score(answer.text, [question.reference]).score) / 100,
            grade=grade(question, answer.text, answer.ended),
            judge=score,
        )
        for question, answer, score in zip(questions, answers, scores, strict=True)
    ]


def judge_scores(
    questions: Sequence[Question], answers: Sequence[Answer], judge: RewardModel, tokenizer: Tokenizer
) -> list[float]:
    """Scores of whole conversations, in the tokens that the rankings it learned from have: as they were sampled.

    What a model with another tokenizer said is encoded, so that it can be judged too.
    """
    rows = [
        with_answer(prompt_ids(question.prompt, tokenizer), answer, tokenizer).token_ids
        for question, answer in zip(questions, answers, strict=True)
    ]
    # A model with longer tokens may say more than the judge can read.
    scores: list[float] = judge.score([row[: judge.config.max_length] for row in rows], READ_AT_ONCE).tolist()
    return scores
