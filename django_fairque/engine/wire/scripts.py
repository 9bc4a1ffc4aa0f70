"""The Lua scripts: their text with includes filled in, and the digest that names them on a server."""

from __future__ import annotations

import re
from functools import cache
from hashlib import sha1
from importlib.resources import files

_INCLUDE = re.compile(r"^[ \t]*--@include[ \t]+([a-z0-9_]+)[ \t]*$", re.MULTILINE)
_folder = files("django_fairque.engine") / "lua"


@cache
def source(name: str) -> str:
    """The text of ``engine/lua/<name>.lua``, each of its includes put in once."""
    return _fill_in((_folder / f"{name}.lua").read_text("utf-8"), set())


@cache
def sha(name: str) -> str:
    """What the server calls the script: the SHA-1 of its text."""
    return sha1(source(name).encode(), usedforsecurity=False).hexdigest()


def _fill_in(text: str, done: set[str]) -> str:
    def include(found: re.Match[str]) -> str:
        name = found[1]
        if name in done:
            return ""
        done.add(name)
        piece = (_folder / "include" / f"{name}.lua").read_text("utf-8")
        return _fill_in(piece, done).rstrip("\n")

    return _INCLUDE.sub(include, text)
