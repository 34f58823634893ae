import random

import daft
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom.data.deduplication import NGRAM, Duplicates, _jaccard, _shingles, find_duplicates
from homeroom.tasks.wording import simplified

HAN = [chr(code) for code in range(0x4E00, 0x5200)]
LATIN = list("abcdefghijklmnopqrstuvwxyz")


def find(keys: list[str], families: list[str] | None = None, **limits: float) -> Duplicates:
    columns = {"key": keys, "script_free": [*map(simplified, keys)], "family": families or [""] * len(keys)}
    frame = daft.from_pydict({"row": list(range(len(keys))), **columns})
    return find_duplicates(frame, len(keys), **({"near": 0.8, "related": 0.5} | limits))


def text(seed: int, alphabet: list[str], length: int = 200) -> str:
    return "".join(random.Random(seed).choices(alphabet, k=length))


@given(st.text(max_size=40), st.text(max_size=40))
def test_jaccard_is_that_of_sets_of_runs_of_characters(one: str, other: str) -> None:
    def runs(text: str) -> set[str]:
        return {text[start : start + NGRAM] for start in range(max(1, len(text) - NGRAM + 1))}

    expected = len(runs(one) & runs(other)) / len(runs(one) | runs(other))
    assert _jaccard(_shingles(one), _shingles(other)) == pytest.approx(expected)


@pytest.mark.parametrize("alphabet", [HAN, LATIN], ids=["chinese", "english"])
def test_exact_and_near_duplicates_in_both_scripts(alphabet: list[str]) -> None:
    keys = [text(seed, alphabet) for seed in range(50)]
    changed = keys[3][:100] + alphabet[0] + keys[3][101:]
    half = keys[5][:160] + text(99, alphabet, 40)
    found = find([*keys, keys[7], changed, half])
    assert found.exact == {50: 7}
    assert found.near == {51: 3}
    assert list(found.family[50:]) == [7, 3, 5]
    assert list(found.family[:50]) == list(range(50))


def test_entries_of_one_template_are_not_duplicates() -> None:
    # What is compared are the parts that differ; a shared ending alone does not make two of them one.
    keys = [text(seed, HAN, 24) + "形容声势浩大" for seed in range(300)]
    assert find(keys).near == {}


def test_a_chain_of_near_duplicates_is_one_cluster_and_its_first_row_stays() -> None:
    keys = [text(0, LATIN, 400)]
    for step in range(1, 6):
        keys.append(keys[-1][: step * 60] + "…" + keys[-1][step * 60 + 1 :])
    assert find(keys[::-1]).near == dict.fromkeys(range(1, 6), 0)


def test_families_stay_together_without_being_duplicates() -> None:
    keys = [text(seed, HAN) for seed in range(4)]
    found = find(keys, ["same", "", "same", ""])
    assert list(found.family) == [0, 1, 0, 3]
    assert found.exact == found.near == {}


def test_twins_in_two_scripts_are_related_but_no_duplicates() -> None:
    traditional = text(0, list("覺這個乾淨嗎畫讀書後來實現發電機說話認識風雲馬車樓臺國語學習"), 60)
    twin = simplified(traditional)
    copied = traditional[:50] + "山" + traditional[51:]
    found = find([traditional, text(1, HAN), twin, copied])
    assert list(found.family) == [0, 1, 0, 0]
    assert found.exact == {}
    assert found.near == {3: 0}


def test_a_large_bucket_is_still_one_cluster() -> None:
    base = text(1, HAN, 500)
    keys = [base[:250] + character + base[251:] for character in HAN[:60]]
    assert set(find(keys).near.values()) == {0}
    assert len(find(keys).near) == 59


def test_texts_shorter_than_a_run() -> None:
    found = find(["好", "的", "好", "ab"])
    assert found.exact == {2: 0}
    assert found.near == {}
