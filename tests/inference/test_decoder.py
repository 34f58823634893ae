"""What the engine decodes with: pieces of unlike length in one forward."""

import torch

from homeroom.inference.decoder import ModuleDecoder
from homeroom.models.kv_cache import Piece


@torch.inference_mode()
def test_padding_leaves_a_full_cache_as_it_is(new_model):
    """A slot's last position, beside a longer piece: padding has no room behind it."""
    model = new_model(vocab_size=50, max_length=50)  # not by fours, as caches are
    decoder, tokens = ModuleDecoder(model), [i * 7 % 50 for i in range(50)]
    cache = decoder.new_cache(2, 50)
    decoder.read(cache, [Piece(0, 0, tokens[:48])])
    expected_TD = model.hidden(torch.tensor([tokens]))[0]
    one = decoder.read(cache, [Piece(0, 48, tokens[48:49]), Piece(1, 0, [5, 6, 7, 8])])
    two = decoder.read(cache, [Piece(0, 49, tokens[49:]), Piece(1, 4, [5, 6, 7, 8])])
    torch.testing.assert_close(one[0], expected_TD[48], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(two[0], expected_TD[49], atol=1e-5, rtol=1e-5)
