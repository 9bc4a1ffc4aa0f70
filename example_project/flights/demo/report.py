"""The table at the demo's end."""

from __future__ import annotations

from collections.abc import Iterable

from ..reference import airlines
from .verdict import Comparison, Line

HEAD = ("", "airline", "tasks", "done", "lost", "first", "last", "first", "last")
WIDTHS = (2, 28, 7, 7, 5, 9, 8, 9, 8)


def table(comparison: Comparison) -> Iterable[str]:
    """Its lines, from the airline that was enqueued first to the last one."""
    # Over the last two pairs of columns.
    left = sum(WIDTHS[:5]) + 2 * 5
    pair = sum(WIDTHS[5:7]) + 2
    yield " " * left + "in turns, measured".rjust(pair) + "  " + "one queue, computed".rjust(pair)
    yield _row(HEAD)
    yield _row(["-" * width for width in WIDTHS])
    yield from (_row(_cells(line)) for line in comparison.lines)
    total = comparison.lines
    yield _row(["-" * width for width in WIDTHS])
    counts = [sum(getattr(line, name) for line in total) for name in ("tasks", "done", "lost")]
    yield _row(["", "all", *(f"{count:,}" for count in counts), "", f"{comparison.seconds:.2f} s", "", ""])
    yield ""
    pace = f"{comparison.seconds:.2f} s / {comparison.tasks:,} tasks = {comparison.ms_per_task:.3f} ms"
    yield "first, last: seconds until the airline's first task started, and until its last one had finished,"
    yield "counted from the start of the very first task."
    yield "one queue: what first in, first out would have given at the pace of this run, which was"
    yield f"{pace} (mean task time / tasks at once):"
    yield "a task starts when all that were enqueued before it have left."


def _cells(line: Line) -> list[str]:
    times = (line.first, line.last, line.fifo_first, line.fifo_last)
    return [
        line.airline,
        airlines()[line.airline],
        f"{line.tasks:,}",
        f"{line.done:,}",
        f"{line.lost:,}",
        *(f"{seconds:.2f} s" for seconds in times),
    ]


def _row(cells: Iterable[str]) -> str:
    texts = [
        cell.ljust(width) if number < 2 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, WIDTHS, strict=True))
    ]
    return "  ".join(texts).rstrip()
