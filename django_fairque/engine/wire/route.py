"""Which server a key belongs to, and how that is found out: fixed, embedded, by sentinels, in a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from .connect import Address, Endpoint
from .steps import Lost, Send, Start, Step, pack

Finding = Generator[Step, Any, None]


class Route:
    """The way from a key to its server."""

    changes = True
    """Whether to look again may lead to another server."""

    def __init__(self, address: Address, folder: str = "") -> None:
        self.address = address
        self.folder = folder

    def __str__(self) -> str:
        return str(self.address)

    @property
    def somewhere(self) -> Endpoint:
        """Any server, for a message about none in particular."""
        return self.address.endpoints[0] if self.address.endpoints else Endpoint(path=self.folder or ".")

    def endpoint(self, key: str | None) -> Endpoint | None:
        """The server of ``key``, or ``None`` when it has to be found out first."""
        raise NotImplementedError

    def find(self) -> Finding:
        """Find out what ``endpoint`` did not know."""
        yield from ()

    def lost(self, endpoint: Endpoint | None = None) -> None:
        """That server did not answer, or is not what it was."""

    def moved(self, slot: int, host: str, port: int) -> None:
        """A node said who serves a slot."""

    def node(self, host: str, port: int) -> Endpoint:
        """The server at a host and port that another one named."""
        return self.somewhere


class Fixed(Route):
    """One server that never changes its address."""

    changes = False

    def __init__(self, address: Address, folder: str = "") -> None:
        super().__init__(address, folder)
        self._only = address.endpoints[0]

    def endpoint(self, key: str | None) -> Endpoint | None:
        return self._only


class Embedded(Route):
    """The server in the project's folder; whoever misses it starts it."""

    def __init__(self, address: Address, folder: str = "") -> None:
        # Settled now, so that a later change of the working directory leads to no second server.
        super().__init__(address, os.path.abspath(os.path.join(folder, address.folder)))
        self._found: Endpoint | None = None
        # One object for one server: idle connections are kept by it.
        self._servers: dict[str, Endpoint] = {}

    def endpoint(self, key: str | None) -> Endpoint | None:
        return self._found

    def find(self) -> Finding:
        path = yield Start(self.folder)
        self._found = self._servers.setdefault(path, Endpoint(path=path, options=self.address.options))

    def lost(self, endpoint: Endpoint | None = None) -> None:
        self._found = None


class Sentinels(Route):
    """The primary that the sentinels agree on."""

    def __init__(self, address: Address, folder: str = "") -> None:
        super().__init__(address, folder)
        self._primary: Endpoint | None = None
        self._servers: dict[tuple[str, int], Endpoint] = {}
        self._sentinels = list(address.endpoints)
        self._asks = pack(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service))

    def endpoint(self, key: str | None) -> Endpoint | None:
        return self._primary

    def find(self) -> Finding:
        reason: object = f"no sentinel knows the service {self.address.service!r}"
        for sentinel in list(self._sentinels):
            try:
                (reply,) = yield Send(sentinel, self._asks, 1)
            except Lost as lost:
                reason = lost
                continue
            if isinstance(reply, Exception):
                reason = reply
            elif reply is not None:
                host, port = reply[0].decode(), int(reply[1])
                found = Endpoint(host, port, tls=self.address.tls, options=self.address.options)
                # Next time the one that answers comes first: those that do not cost a time limit each.
                self._sentinels = [sentinel, *(one for one in self._sentinels if one is not sentinel)]
                self._primary = self._servers.setdefault((host, port), found)
                return
        raise Lost(self.somewhere, reason, slow=isinstance(reason, Lost) and reason.slow)

    def lost(self, endpoint: Endpoint | None = None) -> None:
        self._primary = None


class Cluster(Route):
    """The nodes of a cluster, by the slots they serve."""

    _asks = pack(("CLUSTER", "SLOTS"))

    def __init__(self, address: Address, folder: str = "") -> None:
        super().__init__(address, folder)
        self._nodes = {(one.host, one.port): one for one in address.endpoints}
        self._slots: list[Endpoint | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._is_known = False

    def endpoint(self, key: str | None) -> Endpoint | None:
        if not self._is_known:
            return None
        if key is None:
            return next((one for one in self._slots if one is not None), None)
        return self._slots[key_slot(key.encode())]

    def node(self, host: str, port: int) -> Endpoint:
        found = self._nodes.get((host, port))
        if found is None:
            found = replace(self.somewhere, host=host, port=port)
            self._nodes[host, port] = found
        return found

    def find(self) -> Finding:
        reason: object = "no node knows the cluster"
        for node in self._candidates():
            try:
                (reply,) = yield Send(node, self._asks, 1)
            except Lost as lost:
                reason = lost
                continue
            if isinstance(reply, list) and reply:
                self._learn(node, reply)
                return
            reason = reply or reason
        raise Lost(self.somewhere, reason, slow=isinstance(reason, Lost) and reason.slow)

    def _candidates(self) -> Iterable[Endpoint]:
        # Those that served when last seen first. The URL's own may be long gone, or all that is left.
        serving = dict.fromkeys(one for one in self._slots if one is not None)
        return [*serving, *(one for one in list(self._nodes.values()) if one not in serving)]

    def _learn(self, asked: Endpoint, ranges: list[Any]) -> None:
        slots: list[Endpoint | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, primary, *_ in ranges:
            # A node that does not know its own name says nothing: it is where we asked.
            host = (primary[0] or b"").decode() or asked.host
            node = self.node(host, int(primary[1]))
            slots[first : last + 1] = [node] * (last + 1 - first)
        self._slots = slots
        self._is_known = True

    def lost(self, endpoint: Endpoint | None = None) -> None:
        # The nodes stay known, so that they can be asked who took over; what others serve is served still.
        if endpoint is None:
            self._is_known = False
        else:
            self._slots = [None if one is endpoint else one for one in self._slots]

    def moved(self, slot: int, host: str, port: int) -> None:
        self._slots[slot] = self.node(host, port)


_KINDS: dict[str, Callable[[Address, str], Route]] = {
    "server": Fixed,
    "embedded": Embedded,
    "sentinel": Sentinels,
    "cluster": Cluster,
}


def find_route(address: Address, folder: str = "") -> Route:
    """The route for an address. ``folder`` is where an embedded server lives if the URL does not say."""
    return _KINDS[address.kind](address, folder)
