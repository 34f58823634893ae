"""The benches run, and their last line is the JSON object that the README's figures are read from. No figure is judged
here: a machine that runs tests is no quiet one."""

import json

import pytest

from bench import ppo_step, train_throughput


def last_line(module, monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["bench", *arguments])
    module.main()
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_train_throughput(monkeypatch, capsys):
    made = last_line(train_throughput, monkeypatch, capsys, "--rounds", "1", "--rows", "1", "--precision", "float32")
    assert {"ratio", "memory_ratio", "ratio_float32", "ratio_same_precision"} <= made.keys()
    assert all(made[name] > 0 for name in ("ratio", "memory_ratio", "ratio_float32", "ratio_same_precision"))
    assert 0 < made["share_of_float32_peak"] < 1
    assert made["precision"] == "float32"


def test_ppo_step(monkeypatch, capsys):
    monkeypatch.setattr(ppo_step, "EPISODES", 4)
    made = last_line(ppo_step, monkeypatch, capsys, "--rounds", "1")
    assert made["episodes_per_second"] > 0
    assert made["seconds"].keys() == {
        "sampling", "reward model", "values, reference, advantages", "training step",
    }  # fmt: skip
    assert sum(made["seconds"].values()) == pytest.approx(4 / made["episodes_per_second"], rel=0.05)
