import pytest

from homeroom.stages.seeds import each_seed
from homeroom.training.loop import NotFinite


def one_of(bad):
    def run(number):
        if number in bad:
            raise NotFinite(f"the gradient of {number} is not finite")
        return 10 * number

    return run


@pytest.mark.parametrize(
    ("bad", "made"), [((), {0: 0, 1: 10, 2: 20}), ((0,), {1: 10, 2: 20}), ((1, 2), {0: 0}), ((0, 1), {2: 20})]
)
def test_a_seed_whose_gradients_are_not_finite_does_not_end_the_others(bad, made, capsys):
    assert dict(each_seed(3, one_of(bad))) == made
    said = capsys.readouterr()
    assert (said.out + said.err).count("came to nothing") == len(bad)


def test_where_every_seed_comes_to_nothing_the_error_says_so():
    with pytest.raises(NotFinite, match="the gradient of 2 is not finite"):
        dict(each_seed(3, one_of((0, 1, 2))))
