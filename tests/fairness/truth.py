"""What lies in Redis, read from outside, and the rules it must keep after every step."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from django_fairque.engine.keys import Keys
from django_fairque.engine.task import DEFAULT_POLICY
from tests.server import Server

DUMP = """
local out = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
  local kind = redis.call('TYPE', key).ok
  local value
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  else value = redis.call('GET', key) end
  out[#out + 1] = {string.sub(key, #ARGV[1] + 1), kind, value}
end
return out
"""

TERMINAL = ("finished", "failed", "canceled")


def _read(kind: str, value: Any) -> Any:
    if kind == "hash":
        texts = [item.decode() for item in value]
        return dict(zip(texts[::2], texts[1::2], strict=True))
    if kind == "zset":
        return {name.decode(): float(score) for name, score in zip(value[::2], value[1::2], strict=True)}
    if kind in ("list", "set"):
        return [item.decode() for item in value]
    return value


class Truth:
    """A partition at one moment. ``check`` fails where its parts contradict each other."""

    def __init__(self, server: Server, keys: Keys, now_ms: int) -> None:
        self.now = now_ms
        self.all: dict[str, Any] = {
            name.decode(): _read(kind.decode(), value)
            for name, kind, value in server.cli("EVAL", DUMP, 0, keys.base)
        }
        self.clock: dict[str, str] = self.all.get("clock", {})
        self.users = self._each("user:")
        self.held = {worker: self._parts(held) for worker, held in self._each("held:").items()}
        self.lanes: dict[tuple[str, str, str], list[str]] = {}
        for name, value in self.all.items():
            if name.startswith("queue:"):
                parts = name.split(":")
                queue = "default" if len(parts) == 4 else parts[1]
                self.lanes[parts[-2], queue, parts[-1]] = list(value)

    def _each(self, prefix: str) -> dict[str, Any]:
        return {name[len(prefix) :]: value for name, value in self.all.items() if name.startswith(prefix)}

    @staticmethod
    def _parts(held: dict[str, str]) -> dict[str, dict[str, str]]:
        fields = ("call", "start", "flags", "user", "queue", "est", "score")
        return {id: dict(zip(fields, value.split("|"), strict=True)) for id, value in held.items()}

    def places(self) -> dict[str, list[tuple[str, str]]]:
        """Where each task is: one place each, if all is well."""
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for (user, _, lane), ids in self.lanes.items():
            for id in ids:
                found[id].append((lane, user))
        for state in ("scheduled", *TERMINAL):
            for id in self.all.get(f"state:{state}", ()):
                found[id].append((state, ""))
        for worker, tasks in self.held.items():
            for id in tasks:
                found[id].append(("held", worker))
        return found

    def states(self) -> Counter[str]:
        """How many tasks are in each place."""
        return Counter(place for places in self.places().values() for place, _ in places)

    def virtual_times(self) -> dict[str, float]:
        """The clocks, by queue and group."""
        return {name: float(value) for name, value in self.clock.items() if name.startswith("v:")}

    def check(self) -> None:
        """All rules at once."""
        self._tasks_are_in_one_place_and_say_so()
        self._counters_are_true()
        self._ready_sets_are_true()

    def _tasks_are_in_one_place_and_say_so(self) -> None:
        places = self.places()
        records = self._each("task:")
        assert places.keys() == records.keys()
        for id, where in places.items():
            assert len(where) == 1, (id, where)
            (place, owner), record = where[0], records[id]
            state = record.get("s", "queued")
            if place in ("critical", "normal"):
                assert state == "queued" and record["u"] == owner, (id, record)
                assert (record.get("pr") == "c") == (place == "critical"), (id, record)
            elif place == "held":
                held = self.held[owner][id]
                assert state == "started" and record["h"] == f"{owner}:{held['call']}", (id, record)
                assert held["user"] == record["u"] and held["start"] == record["st"], (id, record)
                assert owner in self.all.get("leases", {}) or owner in self.all.get("dead", {})
            else:
                assert state == place, (id, record)

    def _counters_are_true(self) -> None:
        waiting, critical, queues = Counter[Any](), Counter[Any](), Counter[str]()
        for (user, queue, lane), ids in self.lanes.items():
            waiting[user, queue] += len(ids)
            queues[queue] += len(ids)
            if lane == "critical":
                critical[user, queue] += len(ids)
        scheduled = Counter(self.all[f"task:{id}"]["u"] for id in self.all.get("state:scheduled", ()))
        flying = Counter(task["user"] for held in self.held.values() for task in held.values())

        for name, user in self.users.items():
            here = {queue: n for (owner, queue), n in waiting.items() if owner == name and n}
            assert int(user["n"]) == sum(here.values()) + scheduled[name], (name, user)
            assert int(user.get("f", 0)) == flying[name], (name, user)
            for queue in {field[2:] for field in user if field[:2] == "n:"} | here.keys():
                assert int(user.get(f"n:{queue}", 0)) == here.get(queue, 0), (name, user)
                assert int(user.get(f"c:{queue}", 0)) == critical[name, queue], (name, user)
        busy = {user for user, n in (+scheduled + flying).items() if n} | {
            u for (u, _), n in waiting.items() if n
        }
        assert busy == set(self.all.get("users", ())), "the index of users with tasks"
        assert busy <= self.users.keys()
        for queue in queues | Counter(field[2:] for field in self.clock if field[:2] == "q:"):
            assert int(float(self.clock.get(f"q:{queue}", 0))) == queues[queue], queue
        assert int(float(self.clock.get("running", 0))) == flying.total()

    def limits(self, name: str) -> tuple[float, bool, float | None]:
        """A user's weight, whether its cap and a pause let it run, and until when its rate does not."""
        user = self.users[name]
        packed = user.get("ov") or user.get("pol") or DEFAULT_POLICY.packed
        weight, cap, rate, burst, _ = (float(part) for part in packed.split("|"))
        free = "p" not in user and (not cap or int(user.get("f", 0)) < cap)
        until = float(user.get("tat", 0)) - (burst - 1) * rate
        return weight, free, until if rate and until > self.now else None

    def _ready_sets_are_true(self) -> None:
        ready = {tuple(place.rsplit(":", 1)): who for place, who in self._each("ready:").items()}
        wake = self.all.get("wake", {})
        weights: dict[str, float] = defaultdict(float)
        for name, user in self.users.items():
            weight, free, until = self.limits(name)
            group = user.get("g", "*")
            queues = {queue for (owner, queue, _), ids in self.lanes.items() if owner == name and ids}
            for (queue, other), members in ready.items():
                assert name not in members or (other == group and queue in queues), (name, queue, other)
            for queue in queues:
                score = ready.get((queue, group), {}).get(name)
                if score is None:
                    # Its rate may allow a start by now, and no claim has come since to see it.
                    asleep = free and name in wake and wake[name] <= self.now
                    assert not free or until is not None or asleep, (name, queue, "not ready")
                    continue
                assert free and until is None, (name, queue, "ready and may not run")
                weights[f"w:{queue}:{group}"] += weight
                tag = float(user.get(f"t:{queue}", 0))
                assert -1e-9 <= score - tag <= 1e-3 + abs(tag) * 1e-9, (name, tag, score)
            if queues and free and until is not None:
                assert abs(wake[name] - until) < 1e-3, (name, until)
        for members in ready.values():
            assert members.keys() <= self.users.keys()
        for field in {name for name in self.clock if name.startswith("w:")} | weights.keys():
            assert abs(float(self.clock.get(field, 0)) - weights[field]) < 1e-6, field
        self._nothing_is_overslept(wake)

    def _nothing_is_overslept(self, wake: dict[str, float]) -> None:
        due = float(self.clock.get("due", 0))
        moments = [score // 1_000 for score in self.all.get("state:scheduled", {}).values()]
        moments += [*wake.values(), *self.all.get("leases", {}).values()]
        assert not moments or due <= max(min(moments), self.now, float(self.clock.get("grace", 0)))
