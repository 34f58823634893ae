"""Muon against torch's own, fused matrices against their parts, and which parameter goes where."""

import copy

import pytest
import torch
from torch import nn

from homeroom.models.gpt import GPT, Config
from homeroom.models.heads import ActorCritic, RewardModel
from homeroom.models.linear import FusedLinear
from homeroom.training.optimizers import Muon, Optimizer, OptimizerSettings, orthogonalize

SHAPES = [(16, 16), (16, 40), (40, 16), (16, 16), (3, 50)]


def run(make, steps=4):
    """The matrices after some steps on always the same random gradients."""
    generator = torch.Generator().manual_seed(0)
    matrices = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    optimizer = make(matrices)
    for _ in range(steps):
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=generator)
        optimizer.step()
    return [matrix.detach() for matrix in matrices]


def torchs(matrices):
    return torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw")


def ours(dtype):
    return lambda matrices: Muon(matrices, lr=0.02, weight_decay=0.1, momentum=0.9, dtype=dtype)


def test_in_float32_it_is_torchs_muon_exactly(monkeypatch):
    # torch always iterates in bfloat16; the same code on float32 is a reference without that rounding.
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    torch.testing.assert_close(run(ours(torch.float32)), run(torchs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_torchs_muon_up_to_the_rounding_of_bfloat16(dtype):
    before, reference = run(torchs, steps=0), run(torchs)
    for start, one, other in zip(before, run(ours(dtype)), reference, strict=True):
        assert float((one - other).norm() / (other - start).norm()) < 0.03


def test_a_fused_matrix_is_stepped_as_its_parts_apart():
    generator = torch.Generator().manual_seed(1)
    fused = FusedLinear(16, (16, 8, 8), bias=False)
    apart = [nn.Parameter(part.clone()) for part in fused.weight.detach().split(fused.parts)]
    together = Muon([fused.weight], lr=0.1, parts={id(fused.weight): fused.parts})
    separate = Muon(apart, lr=0.1)
    for _ in range(3):
        fused.weight.grad = torch.randn(32, 16, generator=generator)
        for parameter, part in zip(apart, fused.weight.grad.split(fused.parts), strict=True):
            parameter.grad = part.clone()
        together.step()
        separate.step()
    torch.testing.assert_close(fused.weight.detach(), torch.cat([p.detach() for p in apart]))
    whole = nn.Parameter(torch.zeros(32, 16))
    whole.grad = fused.weight.grad.clone()
    assert not torch.allclose(orthogonalize(whole.grad)[:16], orthogonalize(whole.grad[:16]))


def test_the_models_fused_matrices_are_known_to_their_optimizer():
    model = ActorCritic(GPT(Config(vocab_size=30, width=16, heads=2, layers=2)))
    (muon,) = (part for part in Optimizer(model, OptimizerSettings()).parts if isinstance(part, Muon))
    fused = {id(m.weight): m.parts for m in model.modules() if isinstance(m, FusedLinear)}
    assert len(fused) == 4
    assert muon.parts == fused


def test_orthogonal_means_singular_values_near_one():
    for shape in SHAPES:
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape, generator=torch.Generator().manual_seed(2))))
        assert float(values.min()) > 0.5
        assert float(values.max()) < 1.3
    assert not orthogonalize(torch.zeros(4, 4)).isnan().any()


@pytest.mark.parametrize("wrap", [lambda gpt: gpt, RewardModel, ActorCritic])
@pytest.mark.parametrize("style", ["llama", "gpt2"])
def test_muon_has_the_blocks_matrices_adamw_all_else_and_only_tables_decay(wrap, style):
    model = wrap(GPT(Config(vocab_size=30, width=16, heads=2, layers=1, style=style)))
    adamw, muon = Optimizer(model, OptimizerSettings(weight_decay=0.1, embedding_rate=0.5)).parts
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    chosen = {name_of[id(p)] for p in muon.param_groups[0]["params"]}
    assert {name.split("trunk.blocks.0.")[1] for name in chosen} == {
        "attention.qkv.weight",
        "attention.out.weight",
        "feed_forward.down.weight",
        "feed_forward.gate_up.weight" if style == "llama" else "feed_forward.up.weight",
    }
    rest = {name_of[id(p)]: group["weight_decay"] for group in adamw.param_groups for p in group["params"]}
    assert set(rest) | chosen == set(name_of.values())
    assert not set(rest) & chosen
    for name, decay in rest.items():
        assert decay == (0.1 if dict(model.named_parameters())[name].ndim >= 2 else 0)
    assert {group["lr"] for group in adamw.param_groups} == {0.5}
    assert len(Optimizer(model, OptimizerSettings(kind="adamw")).parts) == 1


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_its_state_goes_through_tensors_and_back(kind, nano):
    def step(model, optimizer, seed, multiplier):
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step(multiplier)

    first = Optimizer(nano, OptimizerSettings(kind=kind, weight_decay=0.1))
    step(nano, first, 1, 0.5)
    twin = copy.deepcopy(nano)
    second = Optimizer(twin, OptimizerSettings(kind=kind, weight_decay=0.1))
    second.load_tensors({name: value.clone() for name, value in first.tensors()})
    for model, optimizer in ((nano, first), (twin, second)):
        step(model, optimizer, 2, 0.25)
    torch.testing.assert_close(dict(twin.named_parameters()), dict(nano.named_parameters()), rtol=0, atol=0)


def test_the_multiplier_scales_the_base_rate_and_not_the_last_one(nano):
    optimizer = Optimizer(nano, OptimizerSettings(learning_rate=0.1, embedding_rate=0.4))
    for multiplier in (0.5, 0.5, 0.25):
        optimizer.step(multiplier)
    assert [group["lr"] for part in optimizer.parts for group in part.param_groups] == pytest.approx([0.1, 0.1, 0.025])
