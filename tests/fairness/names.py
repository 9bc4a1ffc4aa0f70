"""What users of other people's sites are called."""

from __future__ import annotations

from hypothesis import strategies as st

HOSTILE = (
    "a:b",
    "a:b:critical",
    "{}",
    "{0}",
    "*",
    "?",
    "[a-z]",
    "%2A",
    "a|b",
    "|",
    " ",
    "\n",
    "\x00",
    "%s%d",
    "🐙",
    "default",
    "ünïcödé",
    "-inf",
    "(1",
    "x" * 500,
    "G*",
    "A",
)

user_ids = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
)


def crowds(least: int, most: int) -> st.SearchStrategy[list[str]]:
    """Several users with different names."""
    return st.lists(user_ids, min_size=least, max_size=most, unique=True)
