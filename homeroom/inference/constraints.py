"""What an answer may say: JSON of a schema, what a regular expression matches, or one of several texts.

llguidance reads the grammar and says after each token which may come next; here it is told what a tokenizer's tokens
are, and its errors are put into words. An answer that ends by itself keeps to its grammar. One that ran out of tokens
need not: its finish reason is "length", and `complete` says whether it happens to.
Shapes: V the model's vocabulary.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence

import llguidance
import numpy as np
import torch
from torch import Tensor

from homeroom.settings import HomeroomError, whole_characters
from homeroom.text.tokenizer import Tokenizer

# Between two parts of JSON. Bounded, for small models get caught in a space that may go on for ever.
_WHITESPACE = r"[ \n\t]{1,40}"
_BEFORE = "\x02"  # nothing merges with it; after it, no tokenizer adds a space
_LONGEST_REASON = 300
# Some grammars of a few thousand characters compile for minutes, and nothing stops the library but the end of its
# process. They do so for any vocabulary.
_TRIAL = """
import sys, llguidance
try:
    import math, resource
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used + float(sys.argv[1])),) * 2)
except ImportError:  # not on Windows
    pass
grammar = sys.stdin.buffer.read().decode()
llguidance.LLMatcher(llguidance.LLTokenizer("byte"), grammar, log_level=0).compute_bitmask()
"""
_OUT_OF_TIME = (9, 24)  # SIGKILL and SIGXCPU, where there are such
_PLACE = re.compile(r"^at \d+\(\d+\): (failed to compile JSON schema: )?")


class GrammarError(HomeroomError):
    """A schema, an expression or a list of choices that no answer can be held to; the message says why."""


class Vocabulary:
    """A tokenizer's tokens as grammars see them. Made once for a tokenizer; every request gets a constraint of it.

    `size` is the model's vocabulary, which may have rows beyond the tokenizer's last token: they are never allowed.
    With `trial_seconds` a grammar is compiled in another process first, and refused if that takes longer or ends in a
    crash: for grammars of people one does not know.
    """

    def __init__(self, tokenizer: Tokenizer, size: int | None = None, *, trial_seconds: float | None = None) -> None:
        self._trial_seconds = trial_seconds
        self.size = tokenizer.vocab_size if size is None else size
        if self.size < tokenizer.vocab_size:
            raise ValueError(f"a model of {self.size} tokens cannot say all {tokenizer.vocab_size} of its tokenizer")
        self._adds_space = tokenizer.adds_space
        # An end token may be no special one; as text it would end the answer in the middle of its grammar.
        silent = tokenizer.special_ids | tokenizer.end_ids
        self.end_ids = tokenizer.end_ids
        self._tokens = llguidance.LLTokenizer(
            llguidance.TokenizerWrapper(_Tokens(tokenizer, silent)),
            n_vocab=self.size,
            eos_token=sorted(tokenizer.end_ids),
            slices=llguidance.LLTokenizer.json_slices(),
        )

    def json_schema(self, schema: Mapping[str, object] | bool) -> "GrammarConstraint":
        """JSON that the schema describes. Raises GrammarError: no valid schema, one that nothing fits, or a keyword
        that cannot be kept to."""
        if not isinstance(schema, (Mapping, bool)):
            raise GrammarError(f"a schema is an object, true or false, not {schema!r:.80}")
        if schema is False:
            raise GrammarError("nothing fits the schema false")
        keywords = {} if schema is True else schema
        try:
            whole = json.dumps({**keywords, "x-guidance": {"whitespace_pattern": _WHITESPACE}}, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise GrammarError(f"the schema is no JSON: {error}") from error
        if (number := _beyond(keywords)) is not None:
            raise GrammarError(f"the schema cannot be kept to: {number} is beyond the integers that JSON keeps, ±2^53")
        space = "SPACE? " if self._adds_space else ""
        return self._constraint(f'start: {space}value\nSPACE: " "\nvalue: %json {whole}', "schema")

    def json_object(self) -> "GrammarConstraint":
        return self.json_schema({"type": "object"})

    def regex(self, pattern: str, *, goes_on: bool = False) -> "GrammarConstraint":
        """All of the answer is matched, as by `re.fullmatch`; `goes_on` as in `Tokenizer.decode`. Raises GrammarError:
        no valid expression, or one with look-around or back-references."""
        if not isinstance(pattern, str) or not pattern or not _encodes(pattern):
            raise GrammarError(f"a regular expression is a text of at least one character, not {pattern!r}")
        expression = f"/{llguidance.regex_to_lark(pattern, use_ascii='')}/"
        return self._text(expression, "regular expression", goes_on)

    def choices(self, choices: Sequence[str], *, goes_on: bool = False) -> "GrammarConstraint":
        """Raises GrammarError for no choices, and for one that is empty or no text."""
        if isinstance(choices, str) or not choices:
            raise GrammarError(f"choices are a list of at least one text, not {choices!r}")
        for choice in choices:
            if not isinstance(choice, str) or not choice or not _encodes(choice):
                raise GrammarError(f"a choice is a text of at least one character, not {choice!r}")
        return self._text(f"/{'|'.join(map(_literal, choices))}/", "list of choices", goes_on)

    def _text(self, expression: str, kind: str, goes_on: bool) -> "GrammarConstraint":
        if self._adds_space and not goes_on:
            # Decoding takes a first space off, so an answer that begins with one is said with two.
            return self._constraint(f'start: TEXT\nTEXT: " " INNER | INNER & ~/ (?s:.*)/\nINNER: {expression}', kind)
        return self._constraint(f"start: TEXT\nTEXT: {expression}", kind)

    def _constraint(self, grammar: str, kind: str) -> "GrammarConstraint":
        if self._trial_seconds is not None:
            _try(grammar, kind, self._trial_seconds)
        matcher = llguidance.LLMatcher(self._tokens, grammar, log_level=0)
        if matcher.is_error():
            raise GrammarError(f"the {kind} cannot be kept to: {_reason(matcher)}")
        constraint = GrammarConstraint(matcher, self)
        constraint.allowed()  # what no text fits is known here, before a model has said anything
        if constraint.failure is not None:
            raise GrammarError(f"the {kind} cannot be kept to: {constraint.failure}")
        return constraint

    def cut(self, text: str) -> list[int]:
        """Some tokens of a whole answer that is decoded to this text."""
        before = " " if self._adds_space and text.startswith(" ") else ""
        return self._tokens.tokenize_bytes((before + text).encode())


class GrammarConstraint:
    """One answer's place in its grammar.

    Where the grammar became too complex to follow, or the vocabulary lacks a byte that has to come, `failure` says why,
    and the answer may only end: the engine goes on with everybody else's.
    """

    def __init__(self, matcher: llguidance.LLMatcher, vocabulary: Vocabulary) -> None:
        self._matcher, self._vocabulary = matcher, vocabulary
        self._allowed_V: Tensor | None = None
        self.failure: str | None = None

    def copy(self) -> "GrammarConstraint":
        """For another answer, at the same place in the same grammar; compiled once."""
        made = GrammarConstraint(self._matcher.deep_copy(), self._vocabulary)
        made.failure = self.failure
        return made

    @property
    def complete(self) -> bool:
        """Whether what was said is all that the grammar asks for."""
        return self.failure is None and bool(self._matcher.is_accepting())

    def allowed(self) -> Tensor:
        """Which tokens may come next (V,)."""
        packed = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)  # without the GIL
        mask_V = np.unpackbits(packed, count=self._vocabulary.size, bitorder="little").view(np.bool_)
        if self.failure is None and (self._matcher.is_error() or not mask_V.any()):
            self.failure = f"no token of this vocabulary can follow ({_reason(self._matcher) or 'nothing is allowed'})"
        if self.failure is not None:
            mask_V[:] = False
            mask_V[sorted(self._vocabulary.end_ids)] = True
        self._allowed_V = torch.from_numpy(mask_V)
        return self._allowed_V

    def accept(self, token_id: int) -> None:
        """Raises ValueError for a token that was not allowed."""
        if self.failure is not None or self._matcher.consume_token(token_id):
            return
        if self._allowed_V is None or not self._allowed_V[token_id]:
            raise ValueError(f"token {token_id} was not allowed here: {_reason(self._matcher)}")
        self.failure = f"it cannot be followed any further ({_reason(self._matcher)})"

    def fits(self, text: str) -> bool:
        """Whether this could be all of an answer, wherever the answer stands."""
        matcher, token_ids = self._matcher.deep_copy(), self._vocabulary.cut(text)
        known = matcher.reset() and matcher.try_consume_tokens(token_ids) == len(token_ids)
        return bool(known and matcher.is_accepting())


class _Tokens:
    """What llguidance asks of a tokenizer. The bytes are those that our own decoding makes of the ids."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, silent: frozenset[int]) -> None:
        ids = range(tokenizer.vocab_size)
        self.tokens = [b"" if one in silent else tokenizer.decode_bytes([one], goes_on=True) for one in ids]
        self.special_token_ids = sorted(silent)
        self.eos_token_id = tokenizer.end_id
        self._id_of = {token: one for one, token in enumerate(self.tokens) if token}
        self._tokenizer, self._before = tokenizer, tokenizer.encode(_BEFORE)

    def __call__(self, text: bytes) -> list[int]:
        """How text in the middle of an answer is cut. Asked where a grammar leaves one text alone: then only these
        tokens are allowed, so that the model reads what it was taught and not just any tokens of the same bytes."""
        ids = self._tokenizer.encode(_BEFORE + text.decode())
        count = len(self._before)
        # A normalizer may have changed the text.
        exact = ids[:count] == self._before and b"".join(self.tokens[one] for one in ids[count:]) == text
        return ids[count:] if exact else self._longest(text)

    def _longest(self, text: bytes) -> list[int]:
        """Always the longest token that goes on; as far as there is one."""
        ids: list[int] = []
        at = 0
        while at < len(text):
            ends = (end for end in range(len(text), at, -1) if text[at:end] in self._id_of)
            if (end := next(ends, None)) is None:
                break
            ids.append(self._id_of[text[at:end]])
            at = end
        return ids


def _literal(text: str) -> str:
    return "".join(letter if letter.isalnum() else f"\\x{{{ord(letter):x}}}" for letter in text)


def _beyond(keywords: Mapping[str, object]) -> int | None:
    """An integer of a schema that a float64 may not hold (RFC 8259, §6): the library would write another one."""
    left: list[object] = [keywords]
    while left:
        one = left.pop()
        if isinstance(one, Mapping):
            left += one.values()
        elif isinstance(one, (list, tuple)):
            left += one
        elif isinstance(one, int) and abs(one) > 2**53:
            return one
    return None


def _encodes(text: str) -> bool:
    """JSON can carry half of a surrogate pair, which no token stands for."""
    return text == whole_characters(text)


def _try(grammar: str, kind: str, seconds: float) -> None:
    too_slow = f"the {kind} is too complex: it does not compile within {seconds:g} s"
    try:
        # Of the processor's time: on a busy machine the clock would refuse what is simple.
        command, limit = [sys.executable, "-I", "-c", _TRIAL, str(seconds)], 10 * seconds
        ended = subprocess.run(command, input=grammar.encode("utf-8", "replace"), timeout=limit, capture_output=True)
    except subprocess.TimeoutExpired as error:
        raise GrammarError(too_slow) from error
    if -ended.returncode in _OUT_OF_TIME:
        raise GrammarError(too_slow)
    if ended.returncode:
        raise GrammarError(f"the {kind} is too complex: its compilation ended with {ended.returncode}")


def _reason(matcher: llguidance.LLMatcher) -> str:
    # The library adds its own state and grammar below, and where in the grammar made here it stands before.
    said = matcher.get_error().split("<state>")[0].split("\n   1 |")[0]
    reason = " ".join(_PLACE.sub("", said).split())
    half = _LONGEST_REASON // 2  # what was given is quoted before what is wrong with it
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[:half]} … {reason[-half:]}"
