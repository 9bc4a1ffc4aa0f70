from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from django_fairque.engine import errors
from django_fairque.engine.wire.connect import parse
from django_fairque.engine.wire.route import find_route
from django_fairque.engine.wire.steps import Lost
from tests.cluster import Cluster, running_cluster

from .conftest import echo, incr
from .processes import Process, free_ports

EVERYWHERE = [f"fq:{{{number}}}:x" for number in range(12)]


class TestCluster:
    @pytest.fixture(autouse=True)
    def _empty(self, cluster: Cluster) -> Iterator[None]:
        yield
        for node in cluster.nodes:
            node.cli("FLUSHALL")
            node.cli("SCRIPT", "FLUSH")

    def test_each_partition_is_served_by_its_node(self, connect, cluster):
        executor = connect(cluster.url)

        assert executor.run_many([incr(key) for key in EVERYWHERE]) == [1] * 12
        assert {cluster.owner(key).port for key in EVERYWHERE} == {node.port for node in cluster.nodes}

    def test_one_node_is_enough_to_find_the_others(self, connect, cluster):
        executor = connect(f"redis+cluster://127.0.0.1:{cluster.nodes[1].port}")

        assert [executor.run(incr(key)) for key in EVERYWHERE] == [1] * 12

    def test_a_plain_command_goes_where_its_key_lives(self, connect, cluster):
        executor = connect(cluster.url)
        executor.run(incr("{0}"))

        assert executor.call("GET", "{0}", key="{0}") == b"1"
        assert executor.call("PING") == b"PONG"

    def test_a_script_that_one_node_forgot_is_given_to_it_again(self, connect, cluster):
        executor = connect(cluster.url)
        executor.run_many([incr(key) for key in EVERYWHERE])
        cluster.nodes[2].cli("SCRIPT", "FLUSH")

        assert executor.run_many([incr(key) for key in EVERYWHERE]) == [2] * 12

    def test_a_slot_on_its_way_is_asked_for_at_both_ends_and_followed_when_it_moved(self, connect, cluster):
        executor = connect(cluster.url)
        executor.run(incr("{moves}"))
        source = cluster.owner("{moves}")
        target = next(node for node in cluster.nodes if node is not source)
        slot = source.cli("CLUSTER", "KEYSLOT", "{moves}")
        target.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)

        assert executor.run(incr("{moves}")) == 2  # still at the source
        assert executor.run(incr("{moves}2")) == 1  # asked for at the target, which lacks the script too
        source.cli("MIGRATE", "127.0.0.1", target.port, "{moves}", 0, 1_000)
        assert executor.run(incr("{moves}")) == 3
        for node in (target, source):
            node.cli("CLUSTER", "SETSLOT", slot, "NODE", target.id)

        assert executor.run_many([incr("{moves}"), incr("{moves}2")]) == [4, 2]
        assert target.cli("GET", "{moves}") == b"4"

    def test_keys_in_several_slots_are_an_error_of_the_caller(self, connect, cluster):
        with pytest.raises(errors.ScriptFailed, match="same slot"):
            connect(cluster.url).call("MSET", "{0}", 1, "{1}", 1, key="{0}")

    def test_a_dead_node_takes_only_its_own_share_along(self, connect):
        with running_cluster() as cluster:
            executor = connect(cluster.url)
            executor.run_many([incr(key) for key in EVERYWHERE])
            lost = {key for key in EVERYWHERE if cluster.owner(key) is cluster.nodes[0]}
            cluster.nodes[0].process.kill()

            for _ in range(2):
                found = executor.run_many([incr(key) for key in EVERYWHERE], return_errors=True)
                refused = {
                    key
                    for key, one in zip(EVERYWHERE, found, strict=True)
                    if isinstance(one, errors.Unavailable)
                }
                assert refused == lost

    def test_a_server_that_is_no_cluster_is_named_as_such(self, connect, server):
        with Listening() as port, pytest.raises(errors.Unavailable, match="cluster support"):
            connect(f"redis+cluster://127.0.0.1:{port}").run(incr("{0}"))


class Listening:
    """A plain server on a port."""

    def __enter__(self) -> int:
        (port,) = free_ports(1)
        self.process = Process("--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no")
        return port

    def __exit__(self, *_: object) -> None:
        self.process.close()


class TestSentinels:
    @pytest.fixture
    def watched(self, short_path) -> Iterator[Callable[[], None]]:
        self.ports = free_ports(3)
        one, two, sentinel = self.ports
        common = ("--bind", "127.0.0.1", "--save", "", "--dir", short_path, "--requirepass", "pw")
        self.primary = Process("--port", one, *common)
        self.replica = Process(
            "--port", two, "--primaryauth", "pw", "--replicaof", f"127.0.0.1 {one}", *common
        )
        settings = short_path / "sentinel.conf"
        settings.write_text(
            f"port {sentinel}\nbind 127.0.0.1\nrequirepass watch\n"
            f"sentinel monitor main 127.0.0.1 {one} 1\nsentinel auth-pass main pw\n"
            "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 1000\n"
        )
        self.sentinel = Process(settings, "--sentinel", ready="+monitor")
        self.url = f"redis+sentinel://:pw@127.0.0.1:1,127.0.0.1:{sentinel}/main/0?sentinel_password=watch"
        yield lambda: None
        for process in (self.primary, self.replica, self.sentinel):
            process.close()

    def test_the_primary_is_found_and_followed(self, connect, watched):
        executor = connect(self.url)
        assert executor.run(incr("{0}")) == 1
        self.sentinel.wait_for("+slave")
        self.replica.wait_for("Finished with success")
        self.primary.kill()
        self.sentinel.wait_for("+switch-master")

        assert executor.run(echo("still here")) == [b"still here"]
        assert executor.run(incr("{0}")) == 2

    def test_a_service_that_no_sentinel_knows_is_named(self, connect, watched):
        with pytest.raises(errors.Unavailable, match="other"):
            connect(self.url.replace("/main/", "/other/")).call("PING")

    def test_sentinels_refuse_a_wrong_password(self, connect, watched):
        with pytest.raises(errors.Refused) as caught:
            connect(self.url.replace("=watch", "=wr0ng")).call("PING")
        assert "wr0ng" not in str(caught.value)


def test_what_another_try_may_cure():
    address = parse("redis://h")
    fixed, found = find_route(address), find_route(parse("redis+cluster://h"))
    endpoint = address.endpoints[0]

    assert not Lost(endpoint, "refused", fresh=True).may_pass(changes=fixed.changes)
    assert Lost(endpoint, "refused", fresh=True).may_pass(changes=found.changes)
    assert Lost(endpoint, "closed", fresh=False).may_pass(changes=fixed.changes)
    assert not Lost(endpoint, "late", slow=True, fresh=False).may_pass(changes=True)
