from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from django_fairque.engine import errors
from django_fairque.engine.wire.async_executor import AsyncExecutor
from django_fairque.engine.wire.command import Command
from django_fairque.engine.wire.executor import Executor

from .conftest import echo, incr
from .processes import Process

# What a producer is promised is two seconds; the rest is for a busy machine.
SOON = 2.5


def hang_up_on_all(process: Process) -> None:
    with Executor(process.url) as executor:
        executor.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def test_a_command_gives_what_its_parser_makes_of_the_reply(connect, server, keys):
    executor = connect(server.url)

    assert executor.run(echo("a", "b")) == [b"a", b"b"]
    assert executor.run(incr(keys.clock, 2)) == 2


def test_arguments_arrive_as_they_are(connect, server):
    arguments = (b"\x00\xff\r\n", "é", 7, 1.5, "")

    found = connect(server.url).run(Command("echo", ("{0}",), arguments, list))

    assert found == [b"\x00\xff\r\n", "é".encode(), b"7", b"1.5", b""]


def test_many_commands_are_answered_in_order(connect, server):
    found = connect(server.url).run_many([echo(str(number)) for number in range(500)])

    assert found == [[str(number).encode()] for number in range(500)]


def test_no_commands_need_no_server(connect, short_path):
    assert connect(f"unix://{short_path}/nobody.sock").run_many([]) == []


def test_a_script_that_the_server_forgot_is_given_to_it_again(connect, server, keys):
    executor = connect(server.url)
    executor.run(incr(keys.clock))
    server.cli("SCRIPT", "FLUSH")

    assert executor.run(incr(keys.clock)) == 2
    server.cli("SCRIPT", "FLUSH")
    assert executor.run_many([incr(keys.clock), echo("x"), incr(keys.clock)]) == [3, [b"x"], 4]


def test_many_commands_raise_the_first_error_when_all_have_ended(connect, server, keys):
    executor = connect(server.url)

    with pytest.raises(errors.ScriptFailed, match="Wrong number of args"):
        executor.run_many([incr(keys.clock), Command("wrong", ("{0}",), (), int), incr(keys.clock)])

    assert executor.run(incr(keys.clock)) == 3


def test_many_commands_may_give_their_errors_back(connect, server, keys):
    def full(reply: object) -> int:
        raise errors.QueueFull("acme", 1, 1)

    commands = [
        incr(keys.clock),
        Command("wrong", ("{0}",), (), int),
        Command("incr", (keys.users,), (1,), full),
    ]

    first, second, third = connect(server.url).run_many(commands, return_errors=True)

    assert first == 1
    assert isinstance(second, errors.ScriptFailed)
    assert isinstance(third, errors.QueueFull)


def test_a_script_that_cannot_be_compiled_says_why(connect, server):
    with pytest.raises(errors.ScriptFailed, match="compiling"):
        connect(server.url).run(Command("broken", ("{0}",), (), int))


def test_a_full_server_is_told_apart(connect, valkey):
    executor = connect(valkey("--maxmemory", "1").url)

    with pytest.raises(errors.ServerFull):
        executor.run(incr("{0}"))
    assert executor.run(echo("still reads")) == [b"still reads"]


def test_a_wrong_password_is_refused_without_showing_it(connect, valkey):
    executor = connect(valkey("--requirepass", "right").url.replace("unix://", "unix://:wr0ng@"))

    with pytest.raises(errors.Refused) as caught:
        executor.call("PING")
    assert "wr0ng" not in str(caught.value)


def test_a_missing_password_is_refused(connect, valkey):
    with pytest.raises(errors.Refused, match="Authentication required"):
        connect(valkey("--requirepass", "right").url).call("PING")


def test_a_missing_permission_is_refused(connect, valkey):
    process = valkey()
    Executor(process.url).call("ACL", "SETUSER", "ann", "on", ">p", "~*", "+evalsha", "+script")

    with pytest.raises(errors.Refused, match="no permissions"):
        connect(process.url.replace("unix://", "unix://ann:p@")).run(incr("{0}"))


def test_the_database_of_the_url_is_used(connect, valkey):
    process = valkey()
    connect(f"{process.url}?db=3").run(incr("{0}"))

    assert connect(f"{process.url}?db=3").call("EXISTS", "{0}") == 1
    assert connect(process.url).call("EXISTS", "{0}") == 0


def test_a_replica_is_left_for_the_primary(connect, valkey):
    process = valkey()
    executor = connect(process.url)
    executor.run(incr("{0}"))
    before = executor.call("CLIENT", "ID")
    executor.call("CONFIG", "SET", "replica-serve-stale-data", "yes")
    executor.call("REPLICAOF", "127.0.0.1", "1")

    with pytest.raises(errors.Unavailable, match="READONLY"):
        executor.run(incr("{0}"))

    assert executor.call("CLIENT", "ID") != before


def test_a_server_that_runs_a_long_script_is_unavailable(connect, valkey):
    process = valkey("--busy-reply-threshold", "1")
    stuck = Executor(process.url, role="worker")

    def run_for_ever() -> None:
        with pytest.raises(errors.FairqueError):
            stuck.call("EVAL", "while true do end", 0)

    thread = threading.Thread(target=run_for_ever)
    thread.start()
    process.wait_for("Slow script detected")

    with pytest.raises(errors.Unavailable, match="BUSY"):
        connect(process.url).run(incr("{0}"))

    connect(process.url).call("SCRIPT", "KILL")
    thread.join()
    stuck.close()


def test_a_connection_that_died_while_idle_is_replaced(connect, valkey):
    process = valkey()
    executor = connect(process.url)
    executor.run(incr("{0}"))
    hang_up_on_all(process)

    assert executor.run(incr("{0}")) == 2


def test_a_server_that_comes_back_is_used_again(connect, valkey, short_path):
    process = valkey()
    executor = connect(process.url)
    executor.run(incr("{0}"))
    process.kill()
    with pytest.raises(errors.Unavailable):
        executor.run(incr("{0}"))

    again = type(process)(socket=process.socket)

    assert executor.run(incr("{0}")) == 1
    again.close()


class TestAProducerIsToldSoon:
    def test_when_nobody_listens(self, connect):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        started = time.monotonic()

        with pytest.raises(errors.Unavailable, match="cannot be reached"):
            connect(f"redis://:pw@127.0.0.1:{port}").run(incr("{0}"))

        assert time.monotonic() - started < SOON

    @pytest.mark.parametrize(
        "url", ["redis://{}:{}", "redis://:pw@{}:{}", "rediss://{}:{}", "redis+cluster://{}:{}"]
    )
    def test_when_the_server_accepts_and_says_nothing(self, connect, url):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            executor = connect(url.format(*listener.getsockname()))
            started = time.monotonic()

            with pytest.raises(errors.Unavailable, match="time"):
                executor.run(incr("{0}"))

            assert time.monotonic() - started < SOON

    def test_when_connections_are_not_even_accepted(self, connect):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = listener.getsockname()
            # The kernel leaves more of them unanswered when its queue is full, as a dead network would.
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            executor = connect("redis://{}:{}".format(*address))
            started = time.monotonic()

            with pytest.raises(errors.Unavailable, match="time"):
                executor.run(incr("{0}"))

            assert time.monotonic() - started < SOON
            for filler in fillers:
                filler.close()

    def test_when_the_server_hangs_in_the_middle(self, connect, valkey):
        process = valkey()
        executor = connect(process.url)
        executor.run(incr("{0}"))
        process.freeze()
        started = time.monotonic()

        with pytest.raises(errors.Unavailable, match="time"):
            executor.run_many([incr("{0}"), incr("{0}")])
        assert time.monotonic() - started < SOON

        process.thaw()
        assert executor.run(echo("mine")) == [b"mine"]


def test_a_worker_is_not_retried_for(connect, valkey):
    process = valkey()
    executor = connect(process.url, role="worker")
    executor.run(incr("{0}"))
    hang_up_on_all(process)

    with pytest.raises(errors.Unavailable):
        executor.run(incr("{0}"))
    assert executor.run(incr("{0}")) == 2


def test_threads_get_their_own_answers(server):
    executor = Executor(server.url)

    def ask(thread: int) -> bool:
        return all(
            executor.run(echo(f"{thread}-{number}")) == [f"{thread}-{number}".encode()]
            for number in range(300)
        )

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(8)))
    executor.close()


def test_a_forked_child_opens_connections_of_its_own(server):
    executor = Executor(server.url)
    mine = executor.call("CLIENT", "ID")
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writes, b"%d" % executor.call("CLIENT", "ID"))
        os._exit(0)
    os.waitpid(child, 0)

    assert int(os.read(reads, 100)) != mine
    assert executor.call("CLIENT", "ID") == mine
    os.close(reads)
    os.close(writes)
    executor.close()


def test_a_closed_executor_leaves_no_connection_and_can_be_used_again(server):
    executor = Executor(server.url)
    mine = executor.call("CLIENT", "ID")
    executor.close()

    assert executor.call("CLIENT", "ID") != mine
    assert f"id={mine} ".encode() not in server.cli("CLIENT", "LIST", "TYPE", "normal")
    executor.close()


def test_an_interrupted_command_leaves_no_answer_behind(server):
    executor = Executor(server.url)
    executor.call("PING")
    link = executor._idle[executor.address.endpoints[0]][-1]
    read = link.read_response

    def interrupted(**kwargs: object) -> object:
        link.read_response = read  # type: ignore[method-assign]
        raise KeyboardInterrupt

    link.read_response = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        executor.run(echo("theirs"))

    assert executor.run(echo("mine")) == [b"mine"]
    executor.close()


async def test_a_canceled_command_leaves_no_answer_to_the_next(valkey):
    process = valkey()
    executor = AsyncExecutor(process.url)
    await executor.run(echo("warm"))
    process.freeze()
    canceled = asyncio.create_task(executor.run(echo("theirs")))
    while not any(not idle for links in executor._loops.values() for idle in links.values()):
        await asyncio.sleep(0)
    canceled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await canceled
    process.thaw()

    assert [await executor.run(echo(str(number))) for number in range(3)] == [[b"0"], [b"1"], [b"2"]]
    await executor.aclose()


async def test_tasks_that_are_canceled_at_random_points_never_mix_up_answers(server):
    executor = AsyncExecutor(server.url)

    async def ask(number: int) -> None:
        assert await executor.run(echo(str(number))) == [str(number).encode()]

    for turn in range(40):
        tasks = [asyncio.create_task(ask(turn * 100 + number)) for number in range(6)]
        for _ in range(turn % 7):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [one for one in ended if isinstance(one, AssertionError)]
    await executor.aclose()


def test_one_async_executor_serves_one_event_loop_after_another(server):
    executor = AsyncExecutor(server.url)

    async def ask() -> list[bytes]:
        found = await executor.run(echo("x"))
        await executor.aclose()
        return found

    assert [asyncio.run(ask()) for _ in range(3)] == [[b"x"]] * 3
    assert len(executor._loops) == 0


def test_the_server_can_be_asked_about_itself(server):
    with Executor(server.url) as executor:
        assert "redis_version" in executor.server()
