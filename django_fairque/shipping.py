"""Packed calls on their way to the server: who they are for, in which parts, and what became of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import site
from .engine import enqueue as step
from .engine.errors import PartlyStored
from .engine.keys import Keys
from .engine.task import NewTask
from .engine.wire.command import Command
from .results import FairqueTaskResult

SHIPMENT_BYTES = 1_000_000


@dataclass(slots=True)
class Target:
    """What all calls of one task have in common: worked out once, used as long as the settings hold."""

    site: site.Site
    keys: Keys
    name: str
    user_id: str
    group: str
    queue: str
    priority: int
    run_at_ms: int | None
    options: dict[str, Any] | None
    limit: int
    given: str | None
    waits: bool


Packed = tuple[Target, NewTask, FairqueTaskResult]


def chunks(packed: list[Packed]) -> Iterable[list[Packed]]:
    """As many as one call takes."""
    return (packed[start : start + step.CHUNK] for start in range(0, len(packed), step.CHUNK))


def shipments(packed: list[Packed]) -> Iterable[list[Packed]]:
    """Chunks of one site each that are no load to server and connection, however large the payloads are."""
    chunk: list[Packed] = []
    size = 0
    for one in packed:
        size += len(one[1].payload)
        if chunk and (
            len(chunk) == step.CHUNK or size > SHIPMENT_BYTES or one[0].site is not chunk[0][0].site
        ):
            yield chunk
            chunk, size = [], len(one[1].payload)
        chunk.append(one)
    if chunk:
        yield chunk


def by_partition(chunk: list[Packed]) -> list[list[Packed]]:
    """What goes to the same partition goes together."""
    if chunk[0][0].site.space.partitions == 1:
        return [chunk]
    parts: defaultdict[int, list[Packed]] = defaultdict(list)
    for one in chunk:
        parts[one[0].keys.partition].append(one)
    return list(parts.values())


def command(packed: list[Packed]) -> Command[step.Enqueued]:
    """One call for tasks of the same partition."""
    first = packed[0][0]
    return step.enqueue(
        first.keys,
        [new for _, new, _ in packed],
        given=any(target.given is not None for target, _, _ in packed),
        options=first.site.options,
    )


def done(parts: list[list[Packed]], replies: list[Any]) -> tuple[list[FairqueTaskResult], Exception | None]:
    """The results of what was enqueued, and the first error."""
    results: list[FairqueTaskResult] = []
    failure: Exception | None = None
    for part, reply in zip(parts, replies, strict=True):
        if isinstance(reply, Exception):
            failure = failure or reply
        else:
            results += [result for _, _, result in part]
    return results, failure


def ended(packed: list[Packed], stored: set[str], failure: Exception) -> Exception:
    """The error that tells what was enqueued before ``failure``: itself, when nothing was."""
    if not stored:
        return failure
    results = [result if result.id in stored else None for _, _, result in packed]
    ids = [result.id for result in results if result is not None]
    return PartlyStored(ids, len(packed), failure, results)
