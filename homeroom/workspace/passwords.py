"""Passwords: how they are kept, and which are refused because they would be guessed.

Whose they are is the business of users.py; how often one may be tried is the server's.
"""

import math
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from homeroom.workspace.errors import PasswordRefused

SHORTEST = 10
LONGEST = 1000  # more is no safer, and each try costs the server the reading of it
EASIEST = 1e8  # guesses; argon2 leaves a thief of the database some six in a second and core
_SEEN = 72  # zxcvbn's time grows with the square of the length, so it takes no more
HASHER = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)  # 64 MiB and 0.17 s of a core's time


def check(password: str, name: str) -> None:
    """Raises PasswordRefused, which says what is wrong with it and never repeats it."""
    plain = _plain(password)
    if not SHORTEST <= len(plain) <= LONGEST:
        raise PasswordRefused(
            f"this password has {len(plain):,} characters; {SHORTEST} to {LONGEST:,} are allowed. "
            "Four or five unrelated words are good."
        )
    if len(folded(name)) > 2 and folded(name) in folded(plain):
        raise PasswordRefused(f"this password contains the name '{name}', which is tried first. Choose one without it.")
    guesses, why = _guesses(plain[:_SEEN], name)
    if guesses < EASIEST:
        raise PasswordRefused(
            f"this password is too common: it falls after about {_rounded(guesses)} guesses, and {_rounded(EASIEST)} "
            f"are asked for.{f' {why}' if why else ''} Four or five unrelated words are good."
        )


def hashed(password: str) -> str:
    return HASHER.hash(_bytes(password))


def matches(hash: str | None, password: str) -> bool:
    """As long for no hash, whose answer is always no, as for a wrong password."""
    nobodys = _nobodys()  # whichever it is: making it takes as long as a try
    try:
        HASHER.verify(nobodys if hash is None else hash, _bytes(password[:LONGEST]))
    except (VerificationError, InvalidHashError):
        return False
    return hash is not None and len(password) <= LONGEST


def outdated(hash: str) -> bool:
    """Whether it was made with other parameters than are used now."""
    return HASHER.check_needs_rehash(hash)


def folded(name: str) -> str:
    """One form for all ways to type a name: phones begin it with a capital, input methods write it full-width."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


@cache
def _nobodys() -> str:
    return hashed("the password of nobody")


def _plain(password: str) -> str:
    """The same password from every keyboard: RFC 8265 asks for normalisation, NIST SP 800-63B for NFKC or NFKD."""
    return unicodedata.normalize("NFKC", password)


def _bytes(password: str) -> bytes:
    return _plain(password).encode("utf-8", "surrogatepass")


def _guesses(password: str, name: str) -> tuple[float, str]:
    from zxcvbn import zxcvbn  # reads lists of 800 kB, and is needed only where a password is chosen

    found = zxcvbn(password, user_inputs=[name, *name.split(), "homeroom"])
    return float(found["guesses"]), str(found["feedback"]["warning"])


def _rounded(guesses: float) -> str:
    return f"{10 ** max(0, round(math.log10(guesses))):,}"
