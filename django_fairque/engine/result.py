"""Read one task: its state, result, errors and history."""

from __future__ import annotations

from functools import partial
from typing import Any

from .claim import priority_of
from .keys import Keys, decode
from .task import State, TaskRecord
from .wire.command import Command


def read(keys: Keys, task_id: str) -> Command[TaskRecord | None]:
    """Everything stored of a task, or ``None`` when it is unknown or its record has expired."""
    return Command("result", (keys.base,), (task_id,), partial(_record, task_id))


def _record(task_id: str, reply: list[Any] | None) -> TaskRecord | None:
    if reply is None:
        return None
    flat, body, result, errors, due = reply
    fields: dict[bytes, bytes] = dict(zip(flat[::2], flat[1::2], strict=True))

    def number(name: bytes) -> int | None:
        try:
            return int(fields[name])
        except (KeyError, ValueError):
            return None

    def text(name: bytes, default: bytes = b"") -> str:
        return fields.get(name, default).decode(errors="replace")

    try:
        state = State(text(b"s", b"queued"))
    except ValueError:
        state = State.FAILED  # garbage; the dead letters are where a claim would put it
    workers = tuple(text(b"ws").split(",")) if b"ws" in fields else ()
    if b"h" in fields and state in (State.STARTED, State.FINISHED):
        workers = (*workers, text(b"h").rpartition(":")[0])
    started_ms = number(b"st")
    first_ms = number(b"s1")
    return TaskRecord(
        id=task_id,
        name=text(b"n"),
        user_id=decode(fields.get(b"u", b"")),
        queue=decode(fields.get(b"q", b"default")),
        priority=priority_of(fields.get(b"pr", b"0")),
        state=state,
        payload=body if b"b" in fields and body is not None else fields.get(b"p", b""),
        attempts=number(b"a") or 0,
        lost=number(b"d") or 0,
        enqueued_ms=number(b"e") or 0,
        run_at_ms=int(due) if due else number(b"at"),
        first_started_ms=first_ms if first_ms is not None else started_ms,
        started_ms=started_ms,
        finished_ms=number(b"ft"),
        result=result if b"rb" in fields else fields.get(b"r"),
        # A task that was parked once and finished later has no reason any more.
        reason="" if state is State.FINISHED else text(b"rs"),
        errors=tuple(errors),
        workers=workers,
    )
