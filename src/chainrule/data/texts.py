"""The normal form of text cells, and the words for missing values and for yes and no."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from shlex import quote
from typing import Any

from chainrule.errors import counted, listed, with_option

__all__ = [
    "LONGEST_VALUE",
    "MISSING_CATEGORY_WORDS",
    "MISSING_NUMBER_WORDS",
    "MISSING_WORDS",
    "POSSIBLY_MISSING_WORDS",
    "YES_NO_WORDS",
    "are_normal",
    "missing_word_option",
    "normal_text",
    "spelling_variants",
    "yes_no_spellings",
]

# Longer texts are not normalised, and not read as numbers or dates.
LONGEST_COMPOSED, LONGEST_VALUE = 1000, 128

# Unicode white space, and zero-width characters, which spreadsheets and web pages may add to texts.
_OUTER = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\u180e\u200b\u200e\u200f\u2060\ufeff"
)

# The maximum number of groups of variants that a message lists.
MAX_GROUPS_LISTED = 3

_SPACE_OUTSIDE = re.compile(r"^[\s\x1c-\x1f]|[\s\x1c-\x1f]$", re.MULTILINE)

# The words for missing values in models of version 0.1.
MISSING_WORDS = frozenset({"", "?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "<NA>"})
# Words for missing values in columns of categories. "None" and "none" are not included, because they may be categories.
MISSING_CATEGORY_WORDS = MISSING_WORDS | {
    "na", "N/a", "#N/A", "#NA", "#N/D", "#NV", "N.A.", "n.a.", "n. a.", "N/D", "n/d", "n.d.", "S/D", "s/d", "k.A.",
    "k. A.", "NAN", "-nan", "NaT", "Null", "(null)", "\\N", ".", "..", "...", "-", "--", "---", "\u2013", "\u2014",
    "??", "???",
}  # fmt: skip
# Words for missing values in columns of numbers or dates, which include other words that are not numbers.
MISSING_NUMBER_WORDS = MISSING_CATEGORY_WORDS | {
    "None", "none", "NONE", "nil", "NIL", "nd", "ND", "sd", "-NaN", "1.#QNAN", "-1.#QNAN", "1.#IND", "-1.#IND",
    "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!", "missing", "Missing", "MISSING",
}  # fmt: skip

# Words for missing values, in lower case, that may also be categories.
POSSIBLY_MISSING_WORDS = {word.casefold() for word in MISSING_NUMBER_WORDS - MISSING_CATEGORY_WORDS} | {
    "unknown", "not known", "not available", "not applicable", "undefined", "unspecified",
}  # fmt: skip

# Words for yes and no, in lower case.
YES_NO_WORDS = frozenset(
    {"yes", "no", "y", "n", "true", "false", "t", "f", "on", "off", "sim", "n\u00e3o", "nao", "s\u00ed", "si", "ja",
     "nein", "oui", "non"}
)  # fmt: skip
_LONGEST_YES_NO = max(map(len, YES_NO_WORDS))


def normal_text(text: str) -> str:
    """Return a text in the Unicode normalisation form NFC, without leading and trailing white space.

    A text of more than 1,000 characters is only stripped.

    >>> normal_text(" Sa\u0303o Joa\u0303o\u00a0") == "S\u00e3o Jo\u00e3o"
    True
    """
    if text.isascii():
        return text.strip()
    # The time for normalising grows with the square of the length of a run of combining marks.
    return (text if len(text) > LONGEST_COMPOSED else unicodedata.normalize("NFC", text)).strip(_OUTER)


def missing_word_option(cell: object) -> str:
    """Return the option that reads a text as a missing value, for a message; empty for other cells and for digits.

    >>> missing_word_option("not known"), missing_word_option("12 kg")
    ("missing_words (--missing-word 'not known')", '')
    """
    is_word = isinstance(cell, str) and not any(character.isdigit() for character in cell)
    return with_option("missing_words", quote(normal_text(str(cell)))) if is_word else ""


def are_normal(texts: list[Any]) -> bool:
    """Return whether these are texts, all of them ASCII and in normal form, which is fast to check."""
    if not all(type(text) is str for text in texts):
        return False
    joined = "\n".join(texts)
    return joined.isascii() and joined.count("\n") < max(len(texts), 1) and not _SPACE_OUTSIDE.search(joined)


def spelling_variants(texts: Iterable[str]) -> str:
    """Return the groups of texts that differ only in case and in the white space around them, for a message.

    At most three groups are listed. The result is empty if there are none.

    >>> spelling_variants(["spam", "Spam", "ham", " spam", "Ham", "egg"])
    "' spam', 'Spam' and 'spam'; 'Ham' and 'ham'"
    """
    groups: dict[str, list[str]] = {}
    for text in texts:
        groups.setdefault(normal_text(text).casefold(), []).append(text)
    variants = [listed([*map(repr, sorted(group))]) for group in groups.values() if len(group) > 1]
    more = [f"{counted(len(variants) - MAX_GROUPS_LISTED, 'more group')}"] if len(variants) > MAX_GROUPS_LISTED else []
    return "; ".join([*variants[:MAX_GROUPS_LISTED], *more])


def yes_no_spellings(texts: Collection[str]) -> dict[str, str]:
    """Return the texts of a column that mean yes or no, each with its word in lower case.

    A single letter is such a word only if the column has no other texts, because ``N`` and ``n`` may be different
    codes.

    >>> yes_no_spellings(["Yes", "YES", "unknown", "N"])
    {'Yes': 'yes', 'YES': 'yes'}
    """
    words = {text: word for text in texts if len(text) <= _LONGEST_YES_NO and (word := text.lower()) in YES_NO_WORDS}
    shortest = 1 if len(words) == len(texts) else 2
    return {text: word for text, word in words.items() if len(word) >= shortest}
