import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homeroom.models.kv_cache import CacheView


def read(model, cache, slots, tokens_BT, starts, first_slots=None):
    """One cached forward: row b's tokens continue slot slots[b] at position starts[b]."""
    T = tokens_BT.shape[1]
    positions_BT = torch.tensor(starts)[:, None] + torch.arange(T)
    view = CacheView(cache, torch.tensor(slots), positions_BT, max(starts) + T, first_slots)
    return model.hidden(tokens_BT, cache=view)


@torch.no_grad()
def test_token_by_token_is_the_whole_row_at_once(model, tokens_BT):
    whole = model.hidden(tokens_BT)
    cache = model.new_cache(3, 20)
    steps = [read(model, cache, [0, 1, 2], tokens_BT[:, t : t + 1], [t] * 3, 3) for t in range(tokens_BT.shape[1])]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, atol=1e-4, rtol=1e-4)


@settings(max_examples=20)
@given(pieces=st.lists(st.integers(1, 6), min_size=1, max_size=4), slots=st.permutations(range(4)))
@torch.no_grad()
def test_any_pieces_into_any_slots_are_the_whole_row(new_model, pieces, slots):
    model = new_model(kv_heads=2)
    tokens_BT = torch.randint(0, 50, (3, sum(pieces)), generator=torch.Generator().manual_seed(2))
    cache, start, read_BTD = model.new_cache(4, 24), 0, []
    for count in pieces:
        piece_BT = tokens_BT[:, start : start + count]
        read_BTD.append(read(model, cache, slots[:3], piece_BT, [start] * 3))
        start += count
    torch.testing.assert_close(torch.cat(read_BTD, dim=1), model.hidden(tokens_BT), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_slots_of_different_lengths_in_one_step(model, tokens_BT):
    cache = model.new_cache(2, 20)
    read(model, cache, [0], tokens_BT[:1, :12], [0])
    read(model, cache, [1], tokens_BT[1:2, :3], [0])
    step = read(model, cache, [0, 1], torch.stack((tokens_BT[0, 12:13], tokens_BT[1, 3:4])), [12, 3], 2)
    for row, length in ((0, 13), (1, 4)):
        alone = model.hidden(tokens_BT[row : row + 1, :length])[0, -1]
        torch.testing.assert_close(step[row, 0], alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_moved_slot_goes_on_and_a_reused_one_forgets(model, tokens_BT):
    cache = model.new_cache(3, 20)
    read(model, cache, [0, 1, 2], tokens_BT[:, :9], [0] * 3)
    cache.move(2, 0, 9)
    read(model, cache, [2], tokens_BT[1:2, :4], [0])  # over what stood there, which was longer
    step = read(model, cache, [0, 2], torch.stack((tokens_BT[2, 9:10], tokens_BT[1, 4:5])), [9, 4])
    torch.testing.assert_close(step[0, 0], model.hidden(tokens_BT[2:, :10])[0, -1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(step[1, 0], model.hidden(tokens_BT[1:2, :5])[0, -1], atol=1e-4, rtol=1e-4)


def test_a_cache_is_as_small_as_its_key_value_heads(new_model):
    cache = new_model(kv_heads=2).new_cache(3, 20)
    assert [tuple(keys.shape) for keys in cache.keys] == [(3, 2, 20, 8)] * 2


@pytest.mark.parametrize("style", ["llama", "gpt2"])
def test_a_row_longer_than_the_context_is_refused(new_model, style):
    with pytest.raises(ValueError, match="25 tokens do not fit a context of 24"):
        new_model(style=style).hidden(torch.zeros(1, 25, dtype=torch.long))


@pytest.mark.parametrize("inside", [False, True])
def test_a_cache_that_grows_keeps_what_stands_in_it_and_anyone_may_write(new_model, inside):
    cache = new_model(kv_heads=2, max_length=300).new_cache(2, 300)
    cache.keys_LSKTE.copy_(torch.randn(cache.keys_LSKTE.shape))
    cache.values_LSKTE.copy_(torch.randn(cache.values_LSKTE.shape))
    keys, values = cache.keys_LSKTE.clone(), cache.values_LSKTE.clone()
    for slots, length, expected in ((2, 64, (2, 300)), (3, 10, (4, 300)), (9, 290, (9, 300))):
        with torch.inference_mode(inside):
            cache.reserve(slots, length)
        assert (cache.keys_LSKTE.shape[1], cache.keys_LSKTE.shape[3]) == expected
        assert torch.equal(cache.keys_LSKTE[:, :2], keys)
        assert torch.equal(cache.values_LSKTE[:, :2], values)
        assert not cache.keys_LSKTE[:, 2:].any()
        assert all(
            layer.data_ptr() == whole.data_ptr() for layer, whole in zip(cache.keys, cache.keys_LSKTE, strict=True)
        )
    for mode in (True, False):
        with torch.inference_mode(mode):
            cache.put(5, cache.hold(0, 40), 30)
            cache.move(5, 6, 20)
    assert torch.equal(cache.keys_LSKTE[:, 6, :, :20], keys[:, 0, :, :20])
    assert torch.equal(cache.values_LSKTE[:, 5, :, :30], values[:, 0, :, :30])
    assert not cache.values_LSKTE[:, 6, :, 20:].any()


def test_a_cache_without_memory_to_grow_stays_as_it_was_and_may_grow_later(new_model, monkeypatch):
    cache = new_model(max_length=32).new_cache(2, 8)
    cache.keys_LSKTE[:], cache.values_LSKTE[:] = 1.0, 2.0
    made, grown = cache._grown, []

    def full_at_the_second(old, shape):
        grown.append(shape)
        if len(grown) == 2:
            raise MemoryError
        return made(old, shape)

    monkeypatch.setattr(cache, "_grown", full_at_the_second)
    with pytest.raises(MemoryError):
        cache.reserve(2, 32)
    for _ in range(2):
        assert [float(layer.max()) for layer in cache.keys] == [1.0] * len(cache.keys) != []
        assert [float(layer.max()) for layer in cache.values] == [2.0] * len(cache.values) != []
        cache.reserve(2, 32)
    assert min(cache.keys[0].shape[2], cache.values[0].shape[2]) >= 32
