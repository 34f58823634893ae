import os
import subprocess
import sys
from pathlib import Path

import pytest

from homeroom.memory import keep_freed_memory

BLOCKS = """
import resource, sys
if sys.argv[1] == "keep":
    from homeroom.memory import keep_freed_memory
    if not keep_freed_memory():
        sys.exit("no glibc")
import torch
def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_minflt, usage.ru_maxrss
kept = []
def once(i):
    block = torch.ones(8_000_000 + i * 1_000)
    kept.append(str(i) * 100)  # something small that stays, between two large ones
for i in range(5):
    once(i)
before = used()
for i in range(40):
    once(i)
print(*(now - then for now, then in zip(used(), before)))
"""


def faults_and_growth(how: str) -> tuple[int, int]:
    bare = {name: value for name, value in os.environ.items() if name != "THP_MEM_ALLOC_ENABLE"}
    done = subprocess.run([sys.executable, "-c", BLOCKS, how], capture_output=True, text=True, env=bare)
    if "no glibc" in done.stderr:
        pytest.skip("this C library has no mallopt")
    faults, growth = done.stdout.split()
    return int(faults), int(growth)


def test_blocks_that_were_freed_are_met_again_without_page_faults_and_without_growth():
    faults, growth = faults_and_growth("keep")
    # 40 blocks of 32 MB: 312,500 pages.
    assert faults < 5_000
    switch = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not (switch.exists() and "[always]" in switch.read_text()):  # there, large blocks have large pages anyway
        assert faults_and_growth("plain")[0] > 100_000
    assert growth < 2 * 32_000  # in kB: two blocks


@pytest.mark.parametrize(("had", "has"), [(None, "16"), ("1024", "1024")])
def test_torch_keeps_few_prepared_products_unless_its_user_says_otherwise(had, has):
    """They are keyed by shape: of bfloat16 products of ever new lengths, a thousand are half a gigabyte."""
    bare = {name: value for name, value in os.environ.items() if name != "LRU_CACHE_CAPACITY"}
    told = "import os, homeroom.memory as m; m.keep_freed_memory(); print(os.environ['LRU_CACHE_CAPACITY'])"
    env = bare if had is None else bare | {"LRU_CACHE_CAPACITY": had}
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == has, done.stderr


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch):
    # What a user has set stays, and pytest is left as it was.
    for name in ("THP_MEM_ALLOC_ENABLE", "LRU_CACHE_CAPACITY"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    assert not keep_freed_memory()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == os.environ["LRU_CACHE_CAPACITY"] == "0"
