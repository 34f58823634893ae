"""Kernels as machine code: flat or through LLVM the same, a damaged file is none, and no compiler is no disaster."""

import ctypes
import mmap
import os
import signal
import threading
import time

import numpy as np
import pytest
import torch

from homeroom.models import compiled, machine_code, team
from homeroom.models.compiled import CompiledGPT, decodable
from homeroom.models.elf import NotFlat, flat
from homeroom.models.gpt import GPT
from homeroom.models.int8 import Int8Weights
from homeroom.models.kv_cache import Piece
from homeroom.models.team import Team

pytest.importorskip("numba")
binding = pytest.importorskip("llvmlite.binding")


def read(model):
    cache = model.new_cache(2, 24)
    return model.read(cache, [Piece(0, 0, [5]), Piece(1, 0, list(range(20)))])


@pytest.fixture
def weights(new_model):
    return Int8Weights.of(new_model(kv_heads=2))


@pytest.fixture
def reloaded():
    """As in a process that has loaded nothing yet."""
    machine_code.load.cache_clear()
    compiled._crew.cache_clear()
    yield
    machine_code.load.cache_clear()
    compiled._crew.cache_clear()


@pytest.fixture
def forgotten(reloaded, monkeypatch, tmp_path):
    """And that finds nothing compiled before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "homeroom"


def test_what_llvm_loads_computes_the_same(weights, forgotten, monkeypatch):
    def not_flat(*_):
        raise NotFlat("")

    monkeypatch.setattr(machine_code, "flat", not_flat)
    machine_code._compile(machine_code._path())
    header, _ = machine_code._read(machine_code._path())
    assert not header["flat"]
    found = read(CompiledGPT(weights))
    monkeypatch.undo()
    machine_code.load.cache_clear()
    compiled._crew.cache_clear()
    assert torch.equal(found, read(CompiledGPT(weights)))


def test_a_damaged_file_is_none(weights, tmp_path):
    CompiledGPT(weights)
    whole = machine_code._path().read_bytes()
    path = tmp_path / "kernels.bin"
    path.write_bytes(whole)
    header, _ = machine_code._read(path)
    assert header["flat"] == (machine_code.platform.machine() == "x86_64" and machine_code.sys.platform == "linux")
    for damaged in (b"", whole[:100], whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"{}" + whole[2:], bytes(9000)):
        path.write_bytes(damaged)
        assert machine_code._read(path) is None
    assert machine_code._read(tmp_path / "missing.bin") is None


def test_where_nothing_can_be_compiled_the_model_computes_in_float32(weights, forgotten, monkeypatch, capsys):
    forgotten.mkdir()
    (forgotten / "numba.py").write_text("raise ImportError('this Numba is broken')")
    monkeypatch.syspath_prepend(str(forgotten))
    model = decodable(weights)
    assert isinstance(model, GPT)
    said = capsys.readouterr()
    assert "this Numba is broken; computing in float32" in (said.out + said.err).replace("\n", " ")


def test_where_nothing_may_be_run_the_model_computes_in_float32(weights, reloaded, monkeypatch, capsys):
    machine_code.load()

    def refused(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(machine_code.mmap, "mmap", refused)
    machine_code.load.cache_clear()
    compiled._crew.cache_clear()
    assert isinstance(decodable(weights), GPT)
    said = capsys.readouterr()
    assert "cannot be run" in said.out + said.err


def test_where_nothing_can_be_kept_every_process_compiles_for_itself(weights, reloaded, monkeypatch, tmp_path, capsys):
    expected = read(CompiledGPT(weights))
    machine_code.load.cache_clear()
    compiled._crew.cache_clear()
    (tmp_path / "homeroom").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert torch.equal(read(CompiledGPT(weights)), expected)
    said = capsys.readouterr()
    assert "set XDG_CACHE_HOME" in (said.out + said.err).replace("\n", " ")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_computes_even_where_the_parent_was_computing(weights):
    """Its helpers, and whoever held the team's lock, exist in the parent alone."""
    model = CompiledGPT(weights)
    model._threads = 3
    expected = read(model)
    with model._team._one_at_a_time:
        model._team._door[team.LINE // 8] = 2  # two helpers inside
        child = os.fork()
        if child == 0:
            os._exit(0 if torch.equal(read(model), expected) else 1)
        model._team._door[team.LINE // 8] = 0
    for _ in range(100):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_helper_that_never_comes_delays_nobody(weights, monkeypatch):
    model = CompiledGPT(weights)
    model._threads = 1
    expected = read(model)
    model._threads = 3
    monkeypatch.setattr(team.threading.Thread, "start", lambda _: None)
    model._team = Team(machine_code.load().work)
    assert torch.equal(read(model), expected)


def test_a_helper_called_to_a_larger_team_leaves_a_smaller_job_alone(weights, monkeypatch):
    """It would write where there is room for two."""
    seen = []
    work = machine_code.load().work

    def with_a_late_helper(door, thread):
        if thread == 0:
            late = threading.Thread(target=lambda: seen.append(work(door, 7)))
            late.start()
            work(door, 0)
            late.join()
        else:
            work(door, thread)

    model = CompiledGPT(weights)
    model._threads, model._team = 1, Team(with_a_late_helper)
    room = model._room(20, 20)
    guarded = {name: np.zeros(9 * value.size, value.dtype) for name, value in room.items() if hasattr(value, "dtype")}
    monkeypatch.setattr(model, "_room", lambda *_: room | guarded)
    for _ in range(200):
        model.read(model.new_cache(1, 24), [Piece(0, 0, list(range(20)))])
    assert len(seen) == 200
    assert not any(array[room[name].size :].any() for name, array in guarded.items())


def object_of(code):
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_triple("x86_64-unknown-linux-gnu").create_target_machine(
        reloc="pic", codemodel="small"
    )
    return machine.emit_object(binding.parse_assembly('target triple = "x86_64-unknown-linux-gnu"\n' + code))


@pytest.mark.skipif(machine_code.platform.machine() != "x86_64", reason="it is machine code for x86-64")
def test_a_flat_block_runs_wherever_it_is_put():
    code = """
        define internal double @half(double %x) noinline { %y = fmul double %x, 0.5  ret double %y }
        define double @line(double %x) { %h = call double @half(double %x) %y = fadd double %h, 7.25  ret double %y }
    """
    block, entry = flat(object_of(code), "line")
    memory = mmap.mmap(-1, 8192, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    start = np.frombuffer(memory, np.uint8).ctypes.data
    for place in (0, 64, 4096):
        memory[place : place + len(block)] = block
        line = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(start + place + entry)
        assert line(3.0) == 8.75


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("declare void @far()\ndefine void @f() { call void @far() ret void }", "far is not in the object file"),
        ("@n = global i32 5\ndefine i32 @f() { %x = load i32, ptr @n ret i32 %x }", "data to be written to"),
        ("define void @g() { ret void }", "no function f"),
    ],
)
def test_what_is_more_than_code_and_constants_is_refused(code, why):
    with pytest.raises(NotFlat, match=why):
        flat(object_of(code), "f")


def test_what_is_no_object_file_is_refused():
    for data in (b"", b"\x7fELF", b"MZ" + bytes(100)):
        with pytest.raises(NotFlat, match="not an ELF object"):
            flat(data, "f")
