"""A worker in the test's own thread: claims what is ready, runs it by the real runner, settles it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from django_fairque import site
from django_fairque.engine import claim, renew, settle
from django_fairque.engine.serve import Serve
from django_fairque.engine.task import Claimed, Outcome
from django_fairque.runner import DjangoRunner
from tests.server import Server

Ran = list[tuple[Claimed, Outcome]]


class Drain:
    """``drain()`` runs what is ready and says what became of it; ``after_ms`` looks into the future."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._calls = 0
        self.runner = DjangoRunner()

    def __call__(self, *, after_ms: int = 0, queues: tuple[str, ...] = ("default",)) -> Ran:
        here = site.current()
        seconds, micros = self._server.cli("TIME")
        now_ms = int(seconds) * 1_000 + int(micros) // 1_000 + after_ms
        ran: Ran = []
        for keys in here.keys:
            worker = renew.new_worker("test")
            here.executor.run(renew.join(keys, worker, now_ms=now_ms))
            while True:
                self._calls += 1
                got = here.executor.run(
                    claim.claim(keys, worker, self._calls, 100, Serve(queues=queues), now_ms=now_ms)
                )
                if not got.tasks:
                    break
                done = [(task, self.run(task)) for task in got.tasks]
                verdicts = [settle.Verdict(task.id, task.call, outcome) for task, outcome in done]
                here.executor.run(settle.settle(keys, worker, verdicts, options=here.options, now_ms=now_ms))
                ran += done
        return ran

    def run(self, claimed: Claimed) -> Outcome:
        """Run one claimed task, without settling it."""
        if self.runner.is_async(claimed.name):
            return asyncio.run(self.runner.arun(claimed))
        return self.runner.run(claimed)


@pytest.fixture
def drain(server: Server) -> Drain:
    return Drain(server)


@pytest.fixture
def size(server: Server) -> Callable[[], int]:
    """How many keys there are: of this test's, since every test leaves an empty server."""
    return lambda: len(list(server.client.scan_iter(match=f"{server.prefix}*", count=1_000)))
