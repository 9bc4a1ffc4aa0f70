"""Whether the code of this process was changed on disk, for a worker that is being developed."""

from __future__ import annotations

import logging
from pathlib import Path

from django.utils.autoreload import iter_all_python_module_files

log = logging.getLogger("django_fairque.worker")


class Code:
    """The source files of the modules that are loaded, as they were first seen."""

    def __init__(self) -> None:
        self._seen: dict[Path, float] = {}
        self.changed()

    def changed(self) -> bool:
        """Whether a file is newer than when it was seen first. One that cannot be compiled is waited for."""
        changed = False
        for path in iter_all_python_module_files():
            try:
                modified = path.stat().st_mtime
            except OSError:  # being replaced just now, or deleted
                continue
            before = self._seen.setdefault(path, modified)
            if modified != before:
                self._seen[path] = modified
                changed |= _compiles(path)
        return changed


def _compiles(path: Path) -> bool:
    try:
        compile(path.read_bytes(), str(path), "exec")
    except (SyntaxError, ValueError, OSError) as error:
        log.error("%s was changed, but cannot be used: %s", path, error)
        return False
    log.info("%s was changed.", path)
    return True
