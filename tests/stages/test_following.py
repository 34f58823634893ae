from pathlib import Path

from homeroom.stages.following import SampleFile


def sample(step: int) -> dict:
    return {"step": step, "prompt": "你好", "text": f"said after {step}\u2028steps"}


def test_samples_after_a_step_are_forgotten_and_the_others_kept(tmp_path: Path):
    file = SampleFile(tmp_path / "samples.jsonl")
    assert file.read() == []
    file.write([sample(10), sample(20)])
    file.write([sample(30)])
    file.forget_after(20)
    assert file.read() == [sample(10), sample(20)]
    assert [path.name for path in tmp_path.iterdir()] == ["samples.jsonl"]


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path):
    file = SampleFile(tmp_path / "samples.jsonl")
    file.write([sample(10), sample(20)])
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[: len(whole) - 9])
    assert file.read() == [sample(10)]
    file.forget_after(20)
    file.write([sample(30)])
    assert file.read() == [sample(10), sample(30)]
