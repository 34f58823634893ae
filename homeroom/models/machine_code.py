"""The kernels as machine code: compiled once for this processor, kept on the disk, run without their compiler.

Numba and LLVM work in a process of their own and take their 200 MB with them when it ends; what they leave is a file of
50 KB that is mapped into memory and called. Where that file cannot stand alone (not on x86-64 Linux), LLVM loads it.
`homeroom.models.forward` says what is computed, `homeroom.models.team` lets threads compute it.
"""

import ctypes
import functools
import hashlib
import importlib.util
import json
import mmap
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from homeroom.files import cache_folder, write_atomically
from homeroom.models.elf import NotFlat, flat
from homeroom.progress import say

_PAGE = 4096  # the header's room: what is mapped begins at a page
_SOURCES = ("forward.py", "kernels.py", "instructions.py", "job.py", "machine_code.py", "elf.py")


class CannotCompile(RuntimeError):
    """Numba is not there or could not do it, or what it made cannot be run."""


@dataclass(frozen=True)
class Code:
    """`work(door, thread)` of the kernels, and the shape of the tiles that it reads."""

    work: Callable[[int, int], None]
    lanes: int
    rows: int


def is_installed() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("numba", "llvmlite"))


def compiled_before() -> bool:
    """Whether an earlier process left the code on this disk."""
    return _read(_path()) is not None


@functools.cache
def load() -> Code:
    """The code, compiled now where it was not before. Raises CannotCompile."""
    path = _path()
    if _read(path) is not None or _may_be_kept(path):
        address, kept, header = _from_file(path)
    else:  # a home that is read-only, as in many containers
        say("engine", f"{path.parent} cannot be written to, so every process compiles anew: set XDG_CACHE_HOME")
        with tempfile.TemporaryDirectory(prefix="homeroom-") as folder:
            address, kept, header = _from_file(Path(folder) / path.name)
    # The two pointers are Numba's, for a result and an exception: there is neither.
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(
        address
    )
    spare = ctypes.create_string_buffer(64)
    pointer = ctypes.addressof(spare)

    # For ever: when the process ends, a helper may still be in it.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object((kept, spare)))

    def work(door: int, thread: int) -> None:
        function(pointer, pointer, door, thread)

    return Code(work, header["lanes"], header["rows"])


def _may_be_kept(path: Path) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return True
    except OSError:
        return False


def _from_file(path: Path) -> tuple[int, Any, dict[str, Any]]:
    """Where the code begins, what has to be kept for it, and the header. Raises CannotCompile."""
    found = _read(path)
    if found is None:
        _compile_aside(path)
        found = _read(path)
        if found is None:
            raise CannotCompile(f"{path} was written and cannot be read")
    header, content = found
    try:
        return (*(_mapped(path, header) if header["flat"] else _through_llvm(content, header)), header)
    except OSError as error:  # a disk from which nothing may be run
        raise CannotCompile(f"{path} cannot be run ({error}); XDG_CACHE_HOME names another place for it") from error


def _path() -> Path:
    """Other sources, another compiler, another processor: another file."""
    here = Path(__file__).parent
    asked = hashlib.sha256(_processor().encode())
    for name in _SOURCES:
        asked.update((here / name).read_bytes())
    for package in ("numba", "llvmlite"):
        asked.update(version(package).encode())
    return cache_folder() / f"kernels-{asked.hexdigest()[:24]}.bin"


def _processor() -> str:
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        from llvmlite import binding

        return f"{platform.machine()} {binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"
    told = (line for line in first if line.startswith(("model name", "flags", "Features", "CPU part")))
    return "\n".join([platform.machine(), *told])


def _read(path: Path) -> tuple[dict[str, Any], bytes] | None:
    """Header and code; None where there is no such file, a damaged one, or one that somebody else may have written."""
    try:
        told = path.stat()
        if os.name == "posix" and (told.st_uid != os.getuid() or told.st_mode & 0o022):
            return None
        content = path.read_bytes()
        header = json.loads(content[:_PAGE].rstrip(b"\0"))
        code = content[_PAGE:]
        whole = hashlib.sha256(code).hexdigest() == header["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (header, code) if whole else None


def _mapped(path: Path, header: dict[str, Any]) -> tuple[int, Any]:
    with path.open("rb") as file:
        code = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC)
    if hashlib.sha256(memoryview(code)[_PAGE:]).hexdigest() != header["sha256"]:
        raise OSError("it was changed in this moment")
    return int(np.frombuffer(code, np.uint8).ctypes.data) + _PAGE + int(header["entry"]), code


def _through_llvm(content: bytes, header: dict[str, Any]) -> tuple[int, Any]:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(jit=True)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(content))
    engine.finalize_object()
    return int(engine.get_function_address(header["name"])), engine


def _compile_aside(path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
    command = [sys.executable, "-m", "homeroom.models.machine_code", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise CannotCompile(f"the kernels could not be compiled: {reason}")


def _compile(path: Path) -> None:
    from llvmlite import binding
    from numba import njit, types

    if platform.machine() in ("x86_64", "AMD64") and not binding.get_host_cpu_features().get("f16c"):
        raise CannotCompile("this processor does not know float16 (F16C)")
    from homeroom.models.forward import work
    from homeroom.models.instructions import LANES, ROWS

    given = (types.int64, types.int64)
    compiled = njit(types.void(*given), error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
    made = compiled(work).overloads[given]
    name = made.fndesc.llvm_func_name
    module = binding.parse_assembly(made.library.get_llvm_str())
    # Numba's arrays may own memory; these do not, so that it is never freed.
    module.link_in(binding.parse_assembly("define void @NRT_MemInfo_call_dtor(ptr %0) { ret void }"))
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        reloc="pic",
        codemodel="small",
    )
    content, entry = machine.emit_object(module), 0
    try:
        content, entry = flat(content, name)
        alone = sys.platform == "linux"
    except NotFlat:
        alone = False
    header = {
        "flat": alone, "entry": entry, "name": name, "lanes": LANES, "rows": ROWS,
        "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(header).encode().ljust(_PAGE, b"\0") + content)


if __name__ == "__main__":
    _compile(Path(sys.argv[1]))
