"""A real cluster of three nodes. Tests that want it import the fixture ``cluster``."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.engine.wire.processes import Process, free_ports

HOST = "127.0.0.1"
SLOTS = 16_384


class Node:
    """One node of a cluster; ``cli`` talks to it alone, redirections and all."""

    def __init__(self, folder: Path, port: int, bus: int) -> None:
        folder.mkdir()
        self.port, self.bus = port, bus
        self.process = Process(
            *("--bind", HOST, "--port", port, "--cluster-port", bus, "--dir", folder, "--save", ""),
            *("--cluster-enabled", "yes", "--cluster-node-timeout", 2_000),
            # A part that is down must not take the others along, in the cluster as in our code.
            *("--cluster-require-full-coverage", "no"),
        )
        self._client = redis.Redis(host=HOST, port=port)

    def cli(self, *args: object) -> object:
        return self._client.execute_command(*args)

    @property
    def id(self) -> str:
        found = self.cli("CLUSTER", "MYID")
        assert isinstance(found, bytes)
        return found.decode()

    def close(self) -> None:
        self._client.close()
        self.process.close()


class Cluster:
    """Running nodes that share all slots evenly."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in self.nodes)

    def owner(self, key: str) -> Node:
        """The node that serves a key."""
        slot = self.nodes[0].cli("CLUSTER", "KEYSLOT", key)
        for node in self.nodes:
            ranges = node.cli("CLUSTER", "SLOTS")
            assert isinstance(ranges, list)
            for first, last, primary, *_ in ranges:
                if first <= slot <= last and primary[1] == node.port:
                    return node
        raise AssertionError(f"nobody serves {key}")


@contextmanager
def running_cluster(size: int = 3) -> Iterator[Cluster]:
    """Start a cluster, and stop it at the end."""
    # Not TMPDIR: paths in it may be too long for what the nodes put there.
    folder = Path(tempfile.mkdtemp(prefix="fairque-cluster-", dir="/tmp"))
    ports = free_ports(2 * size)
    nodes: list[Node] = []
    try:
        for number in range(size):
            nodes.append(Node(folder / str(number), ports[2 * number], ports[2 * number + 1]))
        for number, node in enumerate(nodes):
            node.cli("CLUSTER", "ADDSLOTSRANGE", SLOTS * number // size, SLOTS * (number + 1) // size - 1)
            node.cli("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            nodes[0].cli("CLUSTER", "MEET", HOST, node.port, node.bus)
        for node in nodes:
            node.process.wait_for("Cluster state changed: ok")
            while len(_served(node)) < size:
                pass
        yield Cluster(nodes)
    finally:
        for node in nodes:
            node.close()
        shutil.rmtree(folder, ignore_errors=True)


def _served(node: Node) -> list[object]:
    found = node.cli("CLUSTER", "SLOTS")
    assert isinstance(found, list)
    return found


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster for all tests of this process. Break one of your own, by ``running_cluster``."""
    with running_cluster() as found:
        yield found
