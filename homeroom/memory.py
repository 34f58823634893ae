"""How this process gets memory from the kernel and whether it gives it back.

glibc returns large blocks at once. A training step that makes 25 MB of logits then meets them anew page by page, each a
fault of the processor: a tenth of its time. Leaves everything else to the allocator.
"""

import ctypes
import gc
import os

# <malloc.h> of glibc; no header can be read at run time.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keep freed blocks for the next of their size, in large pages; the process stays as large as it once was.

    Says whether the C library knows how: glibc does, others are left as they are. Call it before torch is imported.
    """
    # torch then aligns large blocks to 2 MB. Without that, a freed block is too small for its successor by the few
    # bytes that alignment costs, and the heap grows instead.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # torch keeps what it prepared for each of a thousand shapes of bfloat16 products, and oneDNN under it once more:
    # half a gigabyte each where no two batches are of one length. One of them is enough, and as fast.
    os.environ.setdefault("LRU_CACHE_CAPACITY", "16")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_MMAP_MAX, 0) == 1 and mallopt(_TRIM_THRESHOLD, _NEVER) == 1


def give_back_freed_memory() -> None:
    """Once, where much was freed that nothing of its size will follow, such as after loading a model."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def release() -> None:
    """The same between two parts of a stage: a run's sampler and its hooks hold each other, and caches with them."""
    gc.collect()
    give_back_freed_memory()
