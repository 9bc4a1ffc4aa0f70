from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from django_fairque.engine import errors
from django_fairque.engine.keys import Keys, Space
from django_fairque.engine.wire.bell import Bell
from django_fairque.engine.wire.executor import Executor
from tests.cluster import Cluster

from .processes import Process
from .test_executor import hang_up_on_all

LONG = 20.0


@pytest.fixture
def private(valkey) -> Process:
    return valkey()  # type: ignore[no-any-return]


@pytest.fixture
def worker(private) -> Iterator[Executor]:
    with Executor(private.url, role="worker") as executor:
        yield executor


@pytest.fixture
def bell(worker) -> Iterator[Bell]:
    with Bell(worker, [Keys()]) as bell:
        yield bell


BELL = Keys().bell("default", "*")
OTHER = Keys().bell("mail", "worker-001")


def ring_when_somebody_listens(private: Process, key: str) -> threading.Thread:
    def ring() -> None:
        with Executor(private.url) as executor:
            while b"blocked_clients:0" in executor.call("INFO", "clients"):
                pass
            executor.call("RPUSH", key, "1")

    thread = threading.Thread(target=ring)
    thread.start()
    return thread


@pytest.mark.parametrize("key", [BELL, OTHER])
def test_a_bell_wakes_whoever_listens(bell, private, key):
    bell.arm([[BELL, OTHER]], LONG)
    thread = ring_when_somebody_listens(private, key)

    assert bell.wait(LONG) is True
    thread.join()


def test_a_token_is_taken_once(bell, worker):
    worker.call("RPUSH", BELL, "1")
    bell.arm([[BELL]], LONG)

    assert bell.wait(LONG) is True
    assert worker.call("LLEN", BELL) == 0


def test_a_bell_that_rang_while_nobody_waited_is_heard(bell, worker):
    bell.arm([[BELL]], LONG)
    worker.call("RPUSH", BELL, "1")

    assert bell.wait(LONG) is True


def test_what_is_being_listened_to_is_not_asked_for_twice(bell, worker):
    bell.arm([[BELL]], LONG)
    bell.arm([[BELL]], LONG)
    worker.call("RPUSH", BELL, "1", "2")

    assert bell.wait(LONG) is True
    assert worker.call("LLEN", BELL) == 1


def test_something_in_the_own_process_ends_the_wait(bell):
    reads, writes = os.pipe()
    bell.arm([[BELL]], LONG)
    os.write(writes, b"!")

    assert bell.wait(LONG, reads) is False
    assert os.read(reads, 10) == b"!"
    os.close(reads)
    os.close(writes)


def test_the_wait_ends_when_the_time_to_listen_is_over(bell):
    bell.arm([[BELL]], 0.05)

    assert bell.wait(LONG) is False
    bell.arm([[BELL]], LONG)
    assert bell.wait(0.01) is False


def test_a_wait_with_nothing_to_listen_to_ends_in_time(bell):
    bell.arm([[]], LONG)

    assert bell.wait(0.01) is False


def test_a_lost_server_is_reported_and_found_again(bell, worker, private):
    bell.arm([[BELL]], LONG)
    hang_up_on_all(private)
    with pytest.raises(errors.Unavailable):
        bell.wait(LONG)

    bell.arm([[BELL]], LONG)
    with Executor(private.url) as executor:
        executor.call("RPUSH", BELL, "1")
    assert bell.wait(LONG) is True


def test_a_connection_closed_while_nothing_was_asked_is_no_trouble(bell, worker, private):
    bell.arm([[BELL]], 0.01)
    bell.wait(LONG)
    hang_up_on_all(private)
    assert bell.wait(0.05) is False

    bell.arm([[BELL]], LONG)
    with Executor(private.url) as executor:
        executor.call("RPUSH", BELL, "1")
    assert bell.wait(LONG) is True


def test_a_server_that_is_away_is_reported(short_path):
    executor = Executor(f"unix://{short_path}/nobody.sock", role="worker")
    with Bell(executor, [Keys()]) as bell, pytest.raises(errors.Unavailable):
        bell.arm([[BELL]], LONG)


def test_the_timeout_of_the_bell_may_exceed_that_of_the_socket(private):
    from django_fairque.engine.wire.connect import Options

    executor = Executor(private.url, role="worker", options=Options(timeout=0.05))
    with Bell(executor, [Keys()]) as bell:
        bell.arm([[BELL]], 0.3)
        assert bell.wait(LONG) is False
    executor.close()


class TestInACluster:
    space = Space(partitions=8)

    def test_every_partition_is_heard(self, cluster: Cluster):
        with Executor(cluster.url, role="worker") as executor, Bell(executor, self.space.all()) as bell:
            bells = [[keys.bell("default", "*")] for keys in self.space.all()]
            for (key,) in bells:
                bell.arm(bells, LONG)
                executor.call("RPUSH", key, "1", key=key)
                assert bell.wait(LONG) is True

    def test_a_bell_follows_its_slot_to_another_node(self, cluster: Cluster):
        key = Keys("moved").bell("default", "*")
        with Executor(cluster.url, role="worker") as executor, Bell(executor, [Keys("moved")]) as bell:
            bell.arm([[key]], LONG)
            source = cluster.owner(key)
            target = next(node for node in cluster.nodes if node is not source)
            slot = source.cli("CLUSTER", "KEYSLOT", key)
            for node in (target, source):
                node.cli("CLUSTER", "SETSLOT", slot, "NODE", target.id)
            while b"blocked_clients:0" in target.cli("INFO", "clients"):  # type: ignore[operator]
                bell.arm([[key]], LONG)
                bell.wait(0.01)
            executor.call("RPUSH", key, "1", key=key)

            assert bell.wait(LONG) is True
