from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from homeroom.serving.stop_text import StopText

letters = st.text("abc", max_size=12)


@given(
    text=letters, cuts=st.sets(st.integers(1, 11)), stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3)
)
def test_the_text_before_the_first_stop_comes_out_however_it_arrives(
    text: str, cuts: set[int], stops: list[str]
) -> None:
    watch, out = StopText(stops), ""
    for start, end in pairwise([0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]):
        out += watch.push(text[start:end])
    out += watch.flush()
    complete = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    assert watch.found == bool(complete)
    assert out == (text[: min(complete)[1]] if complete else text)


def test_what_might_begin_a_stop_is_held_back_and_released() -> None:
    watch = StopText(["\n\nQ:"])
    assert watch.push("An answer.\n") == "An answer."
    assert watch.push("\nQ") == ""
    assert watch.push("uite so") == "\n\nQuite so"
    assert watch.push("\n\nQ: next") == ""
    assert watch.found
