from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from django_fairque.engine.errors import Invalid
from django_fairque.engine.keys import (
    EVERYBODY,
    MAX_USER_ID_BYTES,
    Keys,
    Space,
    decode,
    encode,
    encode_group,
    encode_queue,
)
from django_fairque.engine.result import read

IDS = st.one_of(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    st.text("a:%{}*|~2AuserqenB \n\0", min_size=1, max_size=12),
).filter(lambda text: len(text.encode()) <= 128)


@given(IDS, IDS)
def test_different_names_are_different_in_keys(one, other):
    assert (encode(one) == encode(other)) == (one == other)


@given(IDS)
def test_a_name_is_read_from_a_key_as_it_was_written(name):
    assert decode(encode(name)) == decode(encode(name).encode()) == name


@given(IDS)
def test_nothing_in_a_name_can_end_it_or_break_the_hash_tag(name):
    assert re.fullmatch(r"[A-Za-z0-9_.~@%-]+", encode(name))


@given(IDS, IDS, IDS, IDS)
def test_lanes_of_different_users_and_queues_are_different_keys(user, queue, other_user, other_queue):
    assume((user, queue) != (other_user, other_queue))
    keys = Keys()
    mine = {keys.lane(user, lane, queue) for lane in ("critical", "normal")}
    theirs = {keys.lane(other_user, lane, other_queue) for lane in ("critical", "normal")}

    assert len(mine | theirs) == 4


@given(IDS, IDS, IDS)
def test_no_key_is_used_for_two_things(user, queue, task):
    keys = Keys()
    every = [
        keys.task(task), keys.body(task), keys.result(task), keys.errors(task),
        keys.lane(user, "critical", queue), keys.lane(user, "normal", queue), keys.user(user),
        keys.override(user), keys.ready(queue, user),
        keys.ready(queue, EVERYBODY), keys.bell(queue, user), keys.bell(queue, EVERYBODY), keys.held(task),
        keys.worker(task), keys.leases, keys.users, keys.wake, keys.clock, keys.stats(7),
        *(keys.state(state) for state in ("scheduled", "finished", "failed", "canceled")),
    ]  # fmt: skip

    assert len(set(every)) == len(every)
    assert all(key.startswith(keys.base) for key in every)


def test_keys_read_as_documented():
    keys = Keys("fq", 3)

    assert keys.base == "fq:{3}:"
    assert keys.lane("acme", "critical") == "fq:{3}:queue:user:acme:critical"
    assert keys.lane("a:b", "normal", "mail") == "fq:{3}:queue:mail:user:a%3Ab:normal"
    assert keys.task("1") == "fq:{3}:task:1"
    assert keys.state("failed") == "fq:{3}:state:failed"


def test_the_group_of_everybody_is_not_the_worker_called_star():
    assert encode_group(EVERYBODY) == "*"
    assert encode("*") == encode_queue("*") == "%2A"


@pytest.mark.parametrize(
    "wrong", ["", "x" * (MAX_USER_ID_BYTES + 1), "é" * 257, "\ud800", "a\udc80", 7, None, b"a", [], {}]
)
def test_a_user_id_that_cannot_be_is_refused_in_few_words(wrong):
    with pytest.raises(Invalid) as refused:
        encode(wrong)

    assert refused.value.field == "user_id"
    assert len(str(refused.value)) < 120


@pytest.mark.parametrize("size", [1, 511, 512])
def test_a_user_id_may_have_512_bytes(size):
    assert decode(encode("x" * size)) == "x" * size
    assert decode(encode("é" * 256)) == "é" * 256


@pytest.mark.parametrize("prefix", ["", "a b", "{a}", "a*", "é", "x" * 65, "fq\n", "a{0}"])
def test_a_prefix_that_could_break_a_key_is_refused(prefix):
    with pytest.raises(Invalid):
        Keys(prefix)


# Partitions


@given(IDS, IDS, st.integers(1, 64))
def test_a_task_id_tells_the_partition_of_its_user(user, task, partitions):
    space = Space("fq", partitions)
    assume("~" not in task)

    id = space.task_id(task, user)

    assert space.of_task(id) == space.of_user(user)
    assert space.task_id(id, user) == id
    assert space.of_user(user) in space.all()


@given(st.integers(1, 1_024))
def test_all_partitions_are_told(partitions):
    assert [keys.partition for keys in Space("fq", partitions).all()] == [*range(partitions)]


def test_users_are_spread_over_the_partitions():
    space = Space("fq", 8)
    found = [space.partition_of(f"user-{n}") for n in range(8_000)]

    assert all(800 < found.count(partition) < 1_200 for partition in range(8))


def test_no_release_may_move_a_user_to_another_partition():
    space = Space("fq", 8)

    homes = {"acme": 6, "globex": 2, "a:b": 5, "été": 3, "🦜": 0, "UA": 0, "OO": 4}
    assert {user: space.partition_of(user) for user in homes} == homes


def test_with_one_partition_ids_stay_as_they_are():
    assert Space().task_id("order~7", "acme") == "order~7"
    assert Space().of_task("order~7") == Keys("fq", 0)


def test_an_id_marked_with_another_users_partition_is_refused():
    space = Space("fq", 8)
    wrong = (space.partition_of("acme") + 1) % 8

    with pytest.raises(Invalid, match="another user's partition"):
        space.task_id(f"order~{wrong}", "acme")


@pytest.mark.parametrize("partitions", [1, 8])
@pytest.mark.parametrize("wrong", ["", "x" * 257, "é" * 129, "\ud800", 7, None, b"a", []])
def test_a_task_id_that_cannot_be_is_refused_in_few_words(wrong, partitions):
    with pytest.raises(Invalid) as refused:
        Space("fq", partitions).task_id(wrong, "acme")

    assert refused.value.field == "task_id"
    assert len(str(refused.value)) < 120


@pytest.mark.parametrize("wrong", ["", "\ud800", 7, None, [], "x" * 513])
def test_a_user_id_that_cannot_be_has_no_partition(wrong):
    with pytest.raises(Invalid):
        Space("fq", 8).of_user(wrong)


@pytest.mark.parametrize("id", ["nothing~99", "x~" + "9" * 5_000, "~", "a~b", "~٣", "1~-1", "a~3\n"])
def test_an_id_of_a_partition_that_does_not_exist_can_be_asked_for(run, keys, id):
    assert run(read(Space(keys.prefix, 8).of_task(id), id)) is None


@pytest.mark.parametrize("partitions", [0, -1, 1_025])
def test_a_number_of_partitions_that_makes_no_sense_is_refused(partitions):
    with pytest.raises(Invalid):
        Space("fq", partitions)
