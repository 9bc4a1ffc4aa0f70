"""What is said to servers and what their answers mean, without any I/O of its own.

A dialogue is a generator: it yields what to do next (``Send``, ``Drop``, ``Start``, ``Pause``) and gets
the answer back. The blocking and the awaiting executor do the I/O, and share everything else.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from redis import exceptions as refusals

from .. import errors
from . import scripts
from .command import Arg, Command
from .connect import Endpoint
from .route import Route
from .steps import Drop, Lost, Pause, Send, Step, pack

Dialogue = Generator[Step, Any, list[Any]]

# Each round answers a redirection or a missing script; a cluster that sends us in circles is broken.
MAX_ROUNDS = 6
_ASKING = pack(("ASKING",))
_TRY_AGAIN_AFTER = 0.05


_UNANSWERED = object()


@dataclass(slots=True, eq=False)
class Request:
    """A command on its way: what to send, where it belongs, and what became of it."""

    key: str | None
    payload: bytes
    script: str | None = None
    asks: Endpoint | None = None
    """Where to send it once, by order of a cluster that is moving its slot."""
    loads: bool = False
    """Whether the server has to be given the script first."""
    reply: Any = _UNANSWERED

    @property
    def count(self) -> int:
        """How many replies the packed request gets; the last is the one that counts."""
        return 1 + self.loads + (self.asks is not None)

    @property
    def packed(self) -> bytes:
        """The bytes to send."""
        payload = self.payload if self.asks is None else _ASKING + self.payload
        if self.loads and self.script is not None:
            return pack(("SCRIPT", "LOAD", scripts.source(self.script))) + payload
        return payload


def request(command: Command[Any]) -> Request:
    """The request that runs a script."""
    keys = command.keys
    packed = ("EVALSHA", scripts.sha(command.script), len(keys), *keys, *command.args)
    return Request(keys[0] if keys else None, pack(packed), command.script)


def plain(args: Sequence[Arg], key: str | None) -> Request:
    """The request that runs a command of the server's own."""
    return Request(key, pack(tuple(args)))


def converse(route: Route, requests: Sequence[Request], retries: int) -> Dialogue:
    """Have all requests answered: what each gives, in order, or the exception it ended in."""
    waiting = requests
    for _ in range(MAX_ROUNDS):
        yield from _round(route, waiting)
        waiting = [one for one in waiting if isinstance(one.reply, Exception) and _is_open(route, one.reply)]
        if any(isinstance(one.reply, Lost) for one in waiting):
            retries -= 1
            if retries < 0:
                waiting = [one for one in waiting if not isinstance(one.reply, Lost)]
        if not waiting:
            break
    return [meaning(route, one.reply) if isinstance(one.reply, Exception) else one.reply for one in requests]


def discover(route: Route, key: str | None) -> Generator[Step, Any, Endpoint]:
    """The server of ``key``, asked for where it is not known yet."""
    endpoint = route.endpoint(key)
    if endpoint is None:
        yield from route.find()
        endpoint = route.endpoint(key)
        if endpoint is None:
            raise Lost(route.somewhere, "nobody serves this part of the key space")
    return endpoint


def _round(route: Route, waiting: Sequence[Request]) -> Generator[Step, Any, None]:
    groups: dict[Endpoint, list[Request]] = {}
    homeless: Lost | None = None
    for one in waiting:
        endpoint = one.asks or route.endpoint(one.key)
        if endpoint is None and homeless is None:
            try:
                endpoint = yield from discover(route, one.key)
            except Lost as lost:
                homeless = lost
        if endpoint is None:
            one.reply = homeless
        else:
            groups.setdefault(endpoint, []).append(one)
    for endpoint, group in groups.items():
        _load_once(group)
        try:
            payload = b"".join([one.packed for one in group])
            replies = yield Send(endpoint, payload, sum([one.count for one in group]))
        except Lost as lost:
            route.lost(endpoint)
            for one in group:
                one.asks, one.reply = None, lost
            continue
        last = -1
        for one in group:
            last += one.count
            reply = one.reply = replies[last]
            if isinstance(reply, Exception):
                if one.loads and isinstance(replies[last + 1 - one.count], Exception):
                    # The script itself was refused; that nobody knows it is only what follows from it.
                    one.reply = replies[last + 1 - one.count]
                yield from _follow(route, endpoint, one)


def _load_once(group: Sequence[Request]) -> None:
    loading = set[str | None]()
    for one in group:
        if one.loads:
            one.loads = one.script not in loading
            loading.add(one.script)


def _follow(route: Route, endpoint: Endpoint, one: Request) -> Generator[Step, Any, None]:
    """Do what a refusal asks for, so that the next round may succeed."""
    one.reply = refusal = _recognised(one.reply)
    asks = one.asks
    one.asks, one.loads = None, False
    if isinstance(refusal, refusals.NoScriptError):
        one.loads, one.asks = True, asks
    elif isinstance(refusal, refusals.MovedError):
        route.moved(refusal.slot_id, refusal.host or endpoint.host, refusal.port)
    elif isinstance(refusal, refusals.AskError):
        one.asks = route.node(refusal.host or endpoint.host, refusal.port)
    elif isinstance(refusal, refusals.TryAgainError):
        yield Pause(_TRY_AGAIN_AFTER)
    elif isinstance(refusal, (refusals.ReadOnlyError, refusals.MasterDownError)):
        # A replica by now, and for ever: whoever is the primary must be looked up again.
        route.lost(endpoint)
        yield Drop(endpoint)


def _recognised(refusal: Exception) -> Exception:
    """A refusal in its own class: older releases of redis-py know a cluster's in its own client only."""
    code, _, rest = str(refusal).partition(" ")
    kind = _REDIRECTIONS.get(code)
    return kind(rest) if kind and type(refusal) is refusals.ResponseError else refusal


def _is_open(route: Route, reply: Exception) -> bool:
    """Whether the request has to be sent once more, to the same server or to another."""
    if isinstance(reply, Lost):
        return reply.may_pass(changes=route.changes)
    # A MovedError is an AskError.
    return isinstance(reply, (refusals.NoScriptError, refusals.AskError, refusals.TryAgainError))


_REDIRECTIONS: dict[str, type[refusals.ResponseError]] = {
    "MOVED": refusals.MovedError,
    "ASK": refusals.AskError,
    "TRYAGAIN": refusals.TryAgainError,
}
_CODES = {
    refusals.OutOfMemoryError: "OOM",
    refusals.NoPermissionError: "NOPERM",
    refusals.ReadOnlyError: "READONLY",
    refusals.MasterDownError: "MASTERDOWN",
    refusals.ClusterDownError: "CLUSTERDOWN",
    refusals.NoScriptError: "NOSCRIPT",
    refusals.ClusterCrossSlotError: "CROSSSLOT",
}
_REFUSED = ("NOAUTH", "NOPERM", "WRONGPASS", "DENIED")
_BUSY = ("LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "MISCONF", "NOREPLICAS", "UNBLOCKED")


def meaning(route: Route, refusal: Exception) -> Exception:
    """A refusal as the caller gets it: one of our own exceptions."""
    if isinstance(refusal, errors.FairqueError):
        return refusal
    if isinstance(refusal, Lost):
        return errors.Unavailable(f"The server at {route} cannot be reached ({refusal}).")
    text = f"{_code(refusal)} {refusal}".strip()
    code = text.partition(" ")[0]
    if code == "OOM":
        return errors.ServerFull(f"The server at {route} is out of memory and took nothing.")
    if code in _REFUSED or "ACL failure in script" in text:
        return errors.Refused(f"The server at {route} refused: {text}")
    if code in _BUSY or _is_open(route, refusal):
        return errors.Unavailable(f"The server at {route} cannot serve now: {text}")
    return errors.ScriptFailed(text)


def _code(refusal: Exception) -> str:
    """The word that redis-py took off the beginning of a refusal. Older releases do not keep it."""
    kept = getattr(refusal, "status_code", None)
    return kept or next((code for kind, code in _CODES.items() if isinstance(refusal, kind)), "")


def broken(endpoint: Endpoint, error: BaseException, *, fresh: bool) -> Exception:
    """What an exception means that left a connection unusable."""
    credentials = (refusals.AuthenticationError, refusals.AuthorizationError, refusals.NoPermissionError)
    # redis-py's awaiting connection wraps what went wrong while it connected.
    if isinstance(error, credentials) or isinstance(error.__cause__, credentials):
        return errors.Refused(f"The server at {endpoint} refused: {error}")
    slow = isinstance(error, (refusals.TimeoutError, TimeoutError))
    reason = "no answer in time" if slow else str(error) or type(error).__name__
    return Lost(endpoint, reason, slow=slow, fresh=fresh)
