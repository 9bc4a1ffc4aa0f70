"""Show the bars move until every airline has its report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..uploads import Progress, progress
from .stage import Child, StageError

LOOK_EVERY_SECONDS = 0.25
PLAIN_LINE_EVERY_SECONDS = 2.0
STALLED_AFTER_SECONDS = 60.0

Show = Callable[[Sequence[Progress]], None]


def watch(out: Any, children: Sequence[Child], timeout: float) -> None:
    """Return when every report is ready. Raises ``StageError`` if a child dies or nothing moves."""
    began = moved = time.monotonic()
    before = -1
    with _display(out) as show:
        while True:
            rows = progress()
            show(rows)
            if all(row.is_finished for row in rows):
                return
            for child in children:
                child.check()
            now = time.monotonic()
            stored = sum(row.stored + row.is_finished for row in rows)
            if stored != before:
                before, moved = stored, now
            if now - moved > STALLED_AFTER_SECONDS:
                raise StageError(
                    f"Nothing has been stored for {STALLED_AFTER_SECONDS:.0f} s. {_standing(rows)}"
                )
            if now - began > timeout:
                raise StageError(f"Not finished within {timeout:.0f} s. {_standing(rows)}")
            time.sleep(LOOK_EVERY_SECONDS)


def _standing(rows: Sequence[Progress]) -> str:
    stored, total = sum(row.stored for row in rows), sum(row.rows for row in rows)
    waiting = " ".join(row.airline for row in rows if not row.is_finished)
    return f"{stored:,} of {total:,} rows are stored; not finished: {waiting or 'nobody'}."


@contextmanager
def _display(out: Any) -> Iterator[Show]:
    if out.isatty():
        try:
            import rich.progress  # noqa: F401 - not everybody has it
        except ImportError:
            pass
        else:
            with _bars() as show:
                yield show
            return
    yield _lines(out)


@contextmanager
def _bars() -> Iterator[Show]:
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.fields[airline]}  {task.description}"),
        BarColumn(bar_width=36),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )
    ids: dict[str, TaskID] = {}
    with Bars(*columns) as bars:

        def show(rows: Sequence[Progress]) -> None:
            for row in rows:
                if row.airline not in ids:
                    ids[row.airline] = bars.add_task(row.name, total=row.rows, airline=row.airline, note="")
                note = (
                    f"report after {row.finished_after:.1f} s"
                    if row.finished_after is not None
                    else row.state
                )
                bars.update(ids[row.airline], completed=row.stored, note=note)

        yield show


def _lines(out: Any) -> Show:
    began = time.monotonic()
    last = began - PLAIN_LINE_EVERY_SECONDS
    told: set[str] = set()

    def show(rows: Sequence[Progress]) -> None:
        nonlocal last
        now = time.monotonic()
        finished = {row.airline for row in rows if row.is_finished}
        if now - last < PLAIN_LINE_EVERY_SECONDS and len(finished) < len(rows):
            return
        last = now
        stored, total = sum(row.stored for row in rows), sum(row.rows for row in rows)
        new = " ".join(sorted(finished - told))
        told.update(finished)
        out.write(
            f"  {now - began:5.1f} s  {stored:6,} of {total:,} rows stored, "
            f"{len(finished)} of {len(rows)} airlines finished{f': {new}' if new else ''}\n"
        )
        out.flush()

    return show
