import pytest
import torch

from homeroom.models.adapters import Adapted, AdapterSettings, adapted, fold, freeze
from homeroom.models.gpt import GPT
from homeroom.models.heads import ActorCritic, RewardModel
from homeroom.models.precision import products_in

SETTINGS = AdapterSettings(rank=4, alpha=8.0)


def learned(base: GPT, seed: int = 1) -> GPT:
    """As if it had learned something."""
    model = adapted(base, SETTINGS)
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Adapted):
                module.up_OR.normal_(std=0.2)
    return model


def test_at_first_it_computes_what_its_base_does(model, tokens_BT):
    expected = model(tokens_BT).hidden_BTD
    assert torch.equal(adapted(freeze(model), SETTINGS)(tokens_BT).hidden_BTD, expected)


def test_what_was_learned_is_the_same_in_plain_weights(model, tokens_BT):
    base = freeze(model)
    plain = GPT(base.config)
    plain.load_state_dict(base.state_dict())
    taught = learned(base)
    expected = taught(tokens_BT).hidden_BTD
    assert not torch.allclose(expected, base(tokens_BT).hidden_BTD, atol=1e-2)
    for whole in (taught, ActorCritic(taught), RewardModel(learned(base))):
        fresh = GPT(base.config)
        fresh.load_state_dict(plain.state_dict())
        torch.testing.assert_close(fold(whole, fresh).eval()(tokens_BT).hidden_BTD, expected)


def test_models_on_one_base_share_its_weights_and_nothing_else(new_model, tokens_BT):
    base = freeze(new_model(kv_heads=2))
    before = base(tokens_BT).hidden_BTD
    policy, critic = learned(base, seed=1), learned(base, seed=2)
    assert not torch.allclose(policy(tokens_BT).hidden_BTD, critic(tokens_BT).hidden_BTD)
    assert torch.equal(base(tokens_BT).hidden_BTD, before)
    kept = {parameter.data_ptr() for parameter in base.parameters()}
    for model in (policy, critic):
        own = [p for p in model.parameters() if p.data_ptr() not in kept]
        assert {p.data_ptr() for p in own} == {p.data_ptr() for p in model.parameters() if p.requires_grad}
        assert len(own) == 2 * 4 * base.config.layers  # qkv, out, gate_up, down


def test_only_adapters_get_a_gradient(new_model, tokens_BT):
    base = freeze(new_model())
    model = learned(base)
    model(tokens_BT).hidden_BTD.square().sum().backward()
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in model.parameters())
    assert sum(p.grad.abs().sum() > 0 for p in model.parameters() if p.requires_grad) == 2 * 4 * base.config.layers


def test_a_base_in_half_the_numbers_is_as_near_as_rounding_allows(new_model, tokens_BT):
    model = new_model(width=64)
    expected = model(tokens_BT).hidden_BTD
    with products_in(torch.bfloat16):
        whole = model(tokens_BT).hidden_BTD
        halved = freeze(model, torch.bfloat16)
        found = halved(tokens_BT).hidden_BTD
        above = adapted(halved, SETTINGS)(tokens_BT).hidden_BTD
    assert halved.trunk.blocks[0].attention.qkv.weight.dtype == torch.bfloat16
    assert halved.embedding.weight.dtype == halved.trunk.norm.weight.dtype == torch.float32
    # Autocast rounds the same weights at every product.
    assert torch.equal(found, whole)
    assert torch.equal(above, whole)
    assert 0 < (found - expected).abs().mean() < 0.03


def test_what_is_not_frozen_is_no_base(new_model):
    with pytest.raises(ValueError, match="not frozen"):
        adapted(new_model(), SETTINGS)
