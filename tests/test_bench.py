"""The benches run, and their last line is the JSON object that the README's figures are read from. No figure is judged
here: a machine that runs tests is no quiet one."""

import json

import pytest

from bench import brigades, cold_start, company, decode, ppo_step, serve_load, train_throughput, voters


def last_line(module, monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["bench", *arguments])
    module.main()
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_train_throughput(monkeypatch, capsys):
    made = last_line(train_throughput, monkeypatch, capsys, "--rounds", "1", "--rows", "1", "--precision", "float32")
    figures = {"ratio", "memory_ratio", "ratio_float32", "ratio_same_precision", "share_of_float32_peak"}
    assert figures <= made.keys()
    assert all(made[name] > 0 for name in figures)  # of one round on a busy machine even a share may pass 1
    assert made["precision"] == "float32"


def test_ppo_step(monkeypatch, capsys):
    monkeypatch.setattr(ppo_step, "EPISODES", 4)
    made = last_line(ppo_step, monkeypatch, capsys, "--rounds", "1")
    assert made["episodes_per_second"] > 0
    assert made["seconds"].keys() == {
        "sampling", "reward model", "values, reference, advantages", "training step",
    }  # fmt: skip
    assert sum(made["seconds"].values()) == pytest.approx(4 / made["episodes_per_second"], rel=0.05)


def test_decode(monkeypatch, capsys):
    made = last_line(decode, monkeypatch, capsys, "--rounds", "1", "--tiny", "--kilobytes", "1")
    named = {"single_stream_ratio", "batch16_ratio", "prefill_ratio", "int8_bits_per_byte_ratio", "memory_ratio"}
    assert named <= made.keys()
    assert made["compiled"]
    assert made["int8_bits_per_byte_ratio"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("form", [[], ["--int8"]])
def test_company(monkeypatch, capsys, form):
    made = last_line(company, monkeypatch, capsys, "--tiny", "--requests", "12", "--tokens", "4", *form)
    assert made["requests"] == 12
    assert made["tokens"] <= 48
    assert made["different"] == made["explained"]
    assert made["compiled"] == bool(form)
    assert (made["apart"] == 0) == made["compiled"]


def test_cold_start(monkeypatch, capsys):
    made = last_line(cold_start, monkeypatch, capsys, "--rounds", "1")
    parts = [made[name] for name in ("import_s", "load_s", "token_s")]
    assert min(parts) >= 0
    assert made["first_token_s"] >= sum(parts) - 0.02  # each is rounded
    assert made["help_s"] > 0


def test_serve_load(monkeypatch, capsys):
    monkeypatch.setattr(serve_load, "DISTINCT", 12)
    made = last_line(serve_load, monkeypatch, capsys, "--tiny", "--seconds", "2", "--clients", "6")
    assert {"throughput_ratio", "ttft_p95_s"} <= made.keys()
    assert made["answers"] > 0
    assert (made["lost"], made["mixed"]) == (0, 0)


def test_brigades(monkeypatch, capsys):
    made = last_line(brigades, monkeypatch, capsys, "--seeds", "1")
    kinds = made["kinds"]
    assert kinds["none"]["honest_lost"] == 0
    for kind in ("burst", "one_model", "mixed"):
        assert kinds[kind]["right"] > kinds[kind]["right_unweighed"]
    assert kinds["burst"]["set_aside"] == 1
    assert made["right_min"] <= min(one["right"] for one in kinds.values())


def test_voters(monkeypatch, capsys):
    """Also what the feedback store promises: a server that is killed loses no vote that it said it had."""
    made = last_line(voters, monkeypatch, capsys, "--seconds", "1", "--clients", "20", "--kills", "1")
    assert made["acknowledged"] >= 20
    assert made["retries"] > 0  # somebody met the server that was away
    assert (made["lost"], made["doubled"], made["other_replies"]) == (0, 0, {})
