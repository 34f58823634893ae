"""Stable random numbers from names, so that what is chosen by them never depends on order, machine or run."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def share(name: str, salt: str) -> float:
    """A number in [0, 1) that belongs to this name; another salt gives an independent one."""
    digest = hashlib.blake2b(f"{salt}\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    # A float holds 53 bits exactly; of all 64 the largest would round to 1.0.
    return (int.from_bytes(digest) >> 11) / 2**53


def pick(options: Sequence[T], name: str, salt: str) -> T:
    """The option that belongs to this name."""
    return options[int(share(name, salt) * len(options))]
