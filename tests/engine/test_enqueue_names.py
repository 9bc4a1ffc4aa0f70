"""Any payload, any name; and those that cannot be are refused before anything is written."""

from __future__ import annotations

import pytest

from django_fairque.engine.enqueue import enqueue
from django_fairque.engine.errors import Invalid
from django_fairque.engine.keys import MAX_QUEUE_BYTES, MAX_USER_ID_BYTES
from django_fairque.engine.serve import Serve
from django_fairque.engine.task import Finish, State

from .given import NOW, claimed, enqueued, joined, names, new, record, settled, state

HOSTILE = [
    "a:b", "{}", "{0}", "*", "[a-z]", "%2A", "a b", "\n", "\0", "\r\n$1\r\n", "'; return 1 --", "|", "🦜",
    "é", "user:acme:critical", "x" * MAX_USER_ID_BYTES,
]  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 66, 1_000_000])
def test_a_payload_of_any_size_comes_back_to_the_byte(run, keys, server, size):
    payload = (bytes(range(256)) * (size // 256 + 1))[:size]
    enqueued(run, keys, "a", payload=payload)
    joined(run, keys)

    assert record(run, keys, "a").payload == payload
    assert claimed(run, keys).tasks[0].payload == payload
    # Whatever its size, the hash of the task stays compact.
    assert server.cli("OBJECT", "ENCODING", keys.task("a")) == b"listpack"
    assert server.cli("EXISTS", keys.body("a")) == (size > 64)


@pytest.mark.parametrize("user_id", HOSTILE)
def test_a_user_may_be_called_anything(run, keys, server, user_id):
    enqueued(run, keys, "a", user_id=user_id)
    enqueued(run, keys, "b", user_id="acme")
    joined(run, keys)

    served = {task.id: task.user_id for task in claimed(run, keys).tasks}
    assert served == {"a": user_id, "b": "acme"}
    assert record(run, keys, "a").user_id == user_id
    assert all(name.startswith(keys.base.encode()) for name in server.client.scan_iter(f"{keys.prefix}*"))


@pytest.mark.parametrize("queue", [name[:MAX_QUEUE_BYTES] for name in HOSTILE])
def test_a_queue_may_be_called_anything(run, keys, queue):
    enqueued(run, keys, "a", queue=queue)
    enqueued(run, keys, "b")
    joined(run, keys)

    assert [task.queue for task in claimed(run, keys, serve=Serve(queues=(queue,))).tasks] == [queue]
    assert state(run, keys, "b") is State.QUEUED


@pytest.mark.parametrize("task_id", [name[:256] for name in HOSTILE])
def test_a_task_id_and_a_function_may_be_called_anything(run, keys, task_id):
    enqueued(run, keys, task_id, name=task_id, payload=b"x" * 65)
    joined(run, keys)

    (task,) = claimed(run, keys).tasks
    assert (task.id, task.name) == (task_id, task_id)
    settled(run, keys, {task_id: Finish(b"y" * 65)})
    assert record(run, keys, task_id).result == b"y" * 65


def test_an_encoded_name_is_another_name(run, keys):
    enqueued(run, keys, "a", user_id="*")
    enqueued(run, keys, "b", user_id="%2A")
    enqueued(run, keys, "c", user_id="%252A")
    joined(run, keys)

    assert [task.user_id for task in claimed(run, keys).tasks] == ["*", "%2A", "%252A"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", ""), ("user_id", "x" * 513), ("user_id", "é" * 257), ("user_id", "\ud800"),
        ("user_id", 7), ("user_id", None), ("user_id", b"acme"),
        ("queue", ""), ("queue", "x" * 129), ("queue", "\udfff"), ("queue", None),
        ("group", ""), ("group", "x" * 129),
        ("name", ""), ("name", "\ud800"),
    ],
    ids=lambda value: repr(value)[:24],
)  # fmt: skip
def test_a_name_that_cannot_be_is_refused_before_anything_is_written(run, keys, server, field, value):
    with pytest.raises(Invalid) as refused:
        run(enqueue(keys, [new("fine"), new("bad", **{field: value})], now_ms=NOW))

    assert len(str(refused.value)) < 200
    assert not names(server, keys)


@pytest.mark.parametrize("size", [511, 512])
def test_a_user_id_of_just_the_limit_is_served(run, keys, size):
    enqueued(run, keys, "a", user_id="u" * size)
    joined(run, keys)

    assert claimed(run, keys).tasks[0].user_id == "u" * size
