"""Which documents repeat others: exactly, nearly, or enough that they must not be on both sides of a split.

MinHash over runs of characters, which needs no word borders and so serves Chinese as well as English; Daft hashes and
groups, and every pair that it proposes is checked by its real Jaccard similarity. What is compared is for quality.py.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import daft
import numpy as np
from daft import col
from daft import functions as F
from numpy.typing import NDArray

from homeroom.data.alike import DisjointSets, ngrams

NGRAM = 5  # characters
# 16 bands of 4: pairs of similarity 0.8 are proposed with 99.98 %, of 0.5 with 64 %.
HASHES, BAND = 64, 4
_ALL_PAIRS = 24  # of a larger bucket only neighbours and the first are compared; chains still connect it


@dataclass(frozen=True)
class Duplicates:
    """Row numbers, dense from 0."""

    exact: dict[int, int]  # a row that repeats another, and the first row that says the same
    near: dict[int, int]
    family: NDArray[np.int64]  # for each row the first row of those that belong in one split


def find_duplicates(frame: daft.DataFrame, rows: int, *, near: float, related: float) -> Duplicates:
    """`frame` has the columns row, key (what is compared), script_free and family (equal ones stay in one split; "" is
    none). `script_free` is the key whatever it is written in: twins in two scripts are related, but no duplicates.
    """
    families = DisjointSets(rows)
    for group in _groups(frame, F.hash(col("key")), "row"):
        for row in group[1:]:
            families.join(group[0], row)
    exact = {row: first for row in range(rows) if (first := families.find(row)) != row}
    for group in _groups(frame.where("family <> ''"), F.hash(col("family")), "row"):
        for row in group[1:]:
            families.join(group[0], row)

    # Copies are settled; left in, they would fill the buckets.
    distinct = frame.where(~col("row").is_in(list(exact))) if exact else frame
    pairs = {pair for bucket in _buckets(distinct) for pair in _candidates(bucket)}
    wanted = sorted({row for pair in pairs for row in pair})
    clusters = DisjointSets(rows)
    if wanted:
        found = distinct.where(col("row").is_in(wanted)).select("row", "key", "script_free").to_pydict()
        keys = dict(zip(found["row"], found["key"], strict=True))
        shingles = {row: _shingles(key) for row, key in zip(found["row"], found["script_free"], strict=True)}
        twofold = {row for row, key in zip(found["row"], found["script_free"], strict=True) if keys[row] != key}
        for one, other in sorted(pairs):
            similarity = _jaccard(shingles[one], shingles[other])
            if similarity >= related:
                families.join(one, other)
            if similarity >= near and not twofold.isdisjoint((one, other)):
                similarity = _jaccard(_shingles(keys[one]), _shingles(keys[other]))
            if similarity >= near:
                clusters.join(one, other)
    similar = {row: first for row in wanted if (first := clusters.find(row)) != row}
    return Duplicates(exact, similar, np.array([families.find(row) for row in range(rows)], np.int64))


def _groups(frame: daft.DataFrame, key: daft.Expression, row: str) -> Iterator[list[int]]:
    """Rows that share a key, in ascending order; the groups in the order of their first row."""
    grouped = frame.select(key.alias("group"), col(row)).groupby("group")
    repeated = grouped.agg(col(row).list_agg().alias("rows"), col(row).count().alias("size")).where("size > 1")
    yield from sorted(sorted(group) for group in repeated.select("rows").to_pydict()["rows"])


def _buckets(frame: daft.DataFrame) -> Iterable[list[int]]:
    # Daft's n-grams are of words between spaces: with a space after every character they are of characters.
    spaced = F.regexp_replace(col("script_free"), r"(?s)(.)", "$1 ")
    signed = frame.select(
        "row", F.minhash(spaced, num_hashes=HASHES, ngram_size=NGRAM, hash_function="xxhash").alias("signature")
    )
    bands = [
        F.hash(F.slice(col("signature"), first, first + BAND), daft.lit(first)) for first in range(0, HASHES, BAND)
    ]
    return _groups(signed.select("row", F.to_list(*bands).alias("band")).explode("band"), col("band"), "row")


def _candidates(bucket: list[int]) -> Iterator[tuple[int, int]]:
    for position, row in enumerate(bucket):
        if len(bucket) <= _ALL_PAIRS:
            yield from ((earlier, row) for earlier in bucket[:position])
        elif position:
            yield from {(bucket[0], row), (bucket[position - 1], row)}


def _shingles(text: str) -> NDArray[np.uint64]:
    characters = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)
    return np.unique(ngrams(characters, NGRAM))


def _jaccard(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    both = len(np.intersect1d(one, other, assume_unique=True))
    return both / (len(one) + len(other) - both)
