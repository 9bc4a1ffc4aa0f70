"""Where everything lies in Redis: one property or method a key, with its type and what it holds.

All keys of a partition share the hash tag ``{n}``, so one script touches one slot of a cluster.
Ids of users and names of queues are encoded (percent-encoding), so that no id can collide with a
separator, with the hash tag or with ``*``. Scripts derive the same names in ``lua/include/names.lua``;
what only they touch (``groups``, ``dead``, ``gone``, ``spoiled``) is named there and not here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote
from zlib import crc32

from .errors import Invalid

MAX_USER_ID_BYTES = 512
MAX_QUEUE_BYTES = 128
MAX_TASK_ID_BYTES = 256
EVERYBODY = "*"
"""The group of all users that no named worker has been assigned; as a target: all groups."""

_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_PARTITION_SUFFIX = re.compile(r"~([0-9]{1,4})\Z")


def encode(value: str, field: str = "user_id", limit: int = MAX_USER_ID_BYTES) -> str:
    """``value`` as it stands in a key. Raises ``Invalid`` when it is empty, too long or no text."""
    if not isinstance(value, str):
        raise Invalid(field, f"must be a string, not {type(value).__name__}.")
    return _encoded(value, field, limit)


@lru_cache(maxsize=16_384)
def _encoded(value: str, field: str, limit: int) -> str:
    if not value:
        raise Invalid(field, "must not be empty.")
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise Invalid(field, "holds a lone surrogate and cannot be encoded as UTF-8.") from None
    if len(raw) > limit:
        raise Invalid(field, f"is {len(raw)} bytes long; the limit is {limit}.")
    return quote(raw, safe="@")


def decode(name: bytes | str) -> str:
    """The user id or queue name that ``encode`` was given."""
    return unquote(name.decode(errors="replace") if isinstance(name, bytes) else name)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one partition."""

    prefix: str = "fq"
    partition: int = 0

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise Invalid("PREFIX", "use 1 to 64 letters, digits and . _ : - only.")

    @property
    def base(self) -> str:
        """What every key of the partition begins with; also the key that routes a script."""
        return f"{self.prefix}:{{{self.partition}}}:"

    def task(self, task_id: str) -> str:
        """Hash: one task. See ``engine/lua/include/names.lua`` for its fields."""
        return f"{self.base}task:{task_id}"

    def body(self, task_id: str) -> str:
        """String: the payload of a task when it is too long for a compact hash field."""
        return f"{self.base}body:{task_id}"

    def result(self, task_id: str) -> str:
        """String: the result of a task when it is too long for a compact hash field."""
        return f"{self.base}result:{task_id}"

    def errors(self, task_id: str) -> str:
        """List: one JSON document for each attempt that failed, oldest first."""
        return f"{self.base}errors:{task_id}"

    def lane(self, user_id: str, lane: str, queue: str = "default") -> str:
        """List (``critical``) or sorted set (``normal``): ids of one user's waiting tasks."""
        user = encode(user_id)
        if queue == "default":
            return f"{self.base}queue:user:{user}:{lane}"
        return f"{self.base}queue:{encode_queue(queue)}:user:{user}:{lane}"

    def user(self, user_id: str) -> str:
        """Hash: one user's counters, policy, tags. Lives while the user has tasks or debt."""
        return f"{self.base}user:{encode(user_id)}"

    def override(self, user_id: str) -> str:
        """String: the policy an operator set by hand; it wins over the settings'."""
        return f"{self.base}override:{encode(user_id)}"

    def state(self, state: str) -> str:
        """Sorted set of task ids: scheduled by due time (microseconds), the others by when they ended."""
        return f"{self.base}state:{state}"

    def ready(self, queue: str, group: str) -> str:
        """Sorted set: the users that may be served now, by virtual start time."""
        return f"{self.base}ready:{encode_queue(queue)}:{encode_group(group)}"

    def bell(self, queue: str, group: str) -> str:
        """List: idle workers of a group block on it; a token wakes one of them."""
        return f"{self.base}bell:{encode_queue(queue)}:{encode_group(group)}"

    def held(self, worker: str) -> str:
        """Hash: the tasks one incarnation runs. Being in it is the fencing token."""
        return f"{self.base}held:{worker}"

    def worker(self, worker: str) -> str:
        """Hash: what an incarnation says of itself."""
        return f"{self.base}worker:{worker}"

    @property
    def leases(self) -> str:
        """Sorted set: incarnations by the end of their lease (ms)."""
        return f"{self.base}leases"

    @property
    def users(self) -> str:
        """Sorted set: users with waiting, scheduled or running tasks, by when they came (ms)."""
        return f"{self.base}users"

    @property
    def wake(self) -> str:
        """Sorted set: rate-limited users by when they may be served again (ms)."""
        return f"{self.base}wake"

    @property
    def clock(self) -> str:
        """Hash: virtual times and weights of the ready users, counters of tasks, the last server time."""
        return f"{self.base}clock"

    def stats(self, minute: int) -> str:
        """Hash: counters and histograms of one minute (minutes since the epoch)."""
        return f"{self.base}stats:{minute}"


def encode_queue(queue: str) -> str:
    """``queue`` as it stands in a key; ``Invalid`` when it cannot be a queue's name."""
    return encode(queue, "queue_name", MAX_QUEUE_BYTES)


def encode_group(group: str) -> str:
    """A group as it stands in a key: the encoded name of its worker, or ``*``."""
    return group if group == EVERYBODY else encode(group, "worker", MAX_QUEUE_BYTES)


@dataclass(frozen=True, slots=True)
class Space:
    """All partitions of one site. A user lives in one, and a task's id tells which."""

    prefix: str = "fq"
    partitions: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.partitions <= 1_024:
            raise Invalid("PARTITIONS", "must be between 1 and 1024.")

    def all(self) -> tuple[Keys, ...]:
        """The keys of every partition."""
        return tuple(Keys(self.prefix, n) for n in range(self.partitions))

    def partition_of(self, user_id: str) -> int:
        """The partition of a user: a hash that no Python version or process changes."""
        return crc32(encode(user_id).encode()) % self.partitions if self.partitions > 1 else 0

    def of_user(self, user_id: str) -> Keys:
        """The keys of the partition this user lives in."""
        return Keys(self.prefix, self.partition_of(user_id))

    def of_task(self, task_id: str) -> Keys:
        """The keys of the partition this task lives in."""
        found = _PARTITION_SUFFIX.search(task_id) if self.partitions > 1 else None
        return Keys(self.prefix, int(found[1]) if found else 0)

    def task_id(self, task_id: str, user_id: str) -> str:
        """``task_id`` marked with its user's partition (``~3``), where there are several.

        Raises ``Invalid`` when it is empty, too long, or marked with another partition.
        """
        if not isinstance(task_id, str) or not task_id:
            raise Invalid("task_id", "must be a string that is not empty.")
        try:
            size = len(task_id.encode())
        except UnicodeEncodeError:
            raise Invalid("task_id", "holds a lone surrogate and cannot be encoded as UTF-8.") from None
        if size > MAX_TASK_ID_BYTES:
            raise Invalid("task_id", f"is {size} bytes long; the limit is {MAX_TASK_ID_BYTES}.")
        if self.partitions == 1:
            return task_id
        partition = self.partition_of(user_id)
        found = _PARTITION_SUFFIX.search(task_id)
        if found:
            if int(found[1]) != partition:
                raise Invalid("task_id", f"ends in {found[0]!r}, which marks another user's partition.")
            return task_id
        return f"{task_id}~{partition}" if partition else task_id
