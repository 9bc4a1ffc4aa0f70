"""Where the server is and how to reach it: one URL, options, and no secret in any text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from inspect import signature
from typing import Any, Literal, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.connection import AbstractConnection

from ..errors import Invalid

T = TypeVar("T")
Role = Literal["producer", "worker"]
DEFAULT_PORT = 6379
DEFAULT_SENTINEL_PORT = 26379

# A producer answers a web request: whatever fails, it must be told within two seconds.
PRODUCER_BUDGET = 1.8
# Seconds to connect and to wait for a reply. A worker has nothing better to do than to wait.
_TIMEOUTS: dict[Role, tuple[float, float]] = {"producer": (0.8, 1.0), "worker": (2.0, 5.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a connection needs besides its URL. The URL's query may say the same; the query wins."""

    tls_ca: str | None = None
    """File with the CA certificates to trust; the system's when not given."""
    tls_cert: str | None = None
    """File with the client's certificate."""
    tls_key: str | None = None
    """File with the client's key; the certificate's file when not given."""
    tls_verify: bool = True
    """Check the server's certificate and name. Turning it off lets anyone in between read along."""
    connect_timeout: float | None = None
    timeout: float | None = None
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)


# What redis-py would send unasked when it connects costs a round trip each. Older releases know other names.
_SILENT: dict[str, None] = (
    {"driver_info": None}
    if "driver_info" in signature(AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)


# Endpoints are compared by identity, so that finding the connections of one costs no hashing of its parts.
@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """One server, and all that is needed to open a connection to it."""

    host: str = ""
    port: int = 0
    path: str = ""
    """A Unix socket; then host and port mean nothing."""
    tls: bool = False
    options: Options = Options()

    def __str__(self) -> str:
        return self.path or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")

    def arguments(self, connect_timeout: float | None, timeout: float | None) -> dict[str, Any]:
        """Arguments for a redis-py connection: the blocking and the awaiting ones take the same."""
        options = self.options
        arguments: dict[str, Any] = {
            "db": options.db,
            "username": options.username,
            "password": options.password,
            "socket_connect_timeout": connect_timeout,
            "socket_timeout": timeout,
            "protocol": 2,
            "health_check_interval": 0,
        } | _SILENT
        if self.path:
            return arguments | {"path": self.path}
        arguments |= {"host": self.host, "port": self.port}
        if self.tls:
            arguments |= {
                "ssl_ca_certs": options.tls_ca,
                "ssl_certfile": options.tls_cert,
                "ssl_keyfile": options.tls_key or options.tls_cert,
                "ssl_cert_reqs": "required" if options.tls_verify else "none",
                "ssl_check_hostname": options.tls_verify,
            }
        return arguments


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL. Its text shows no credentials, whichever way they were given."""

    kind: Literal["server", "sentinel", "cluster", "embedded"]
    endpoints: tuple[Endpoint, ...]
    """The server; or the sentinels, or some nodes of the cluster, to ask first."""
    service: str = ""
    """The name by which sentinels know the primary."""
    tls: bool = False
    folder: str = ""
    options: Options = Options()
    """For connections to the server itself; sentinels have their own in ``endpoints``."""

    def __str__(self) -> str:
        options = self.options
        who = "***@" if options.username or options.password else ""
        where = ",".join(str(endpoint) for endpoint in self.endpoints)
        db = str(options.db) if options.db else ""
        if self.kind == "embedded":
            return f"embedded://{self.folder}"
        if self.kind == "server" and self.endpoints[0].path:
            return f"unix://{who}{where}" + (f"?db={db}" if db else "")
        scheme = "rediss" if self.tls else "redis"
        if self.kind == "server":
            return f"{scheme}://{who}{where}" + (f"/{db}" if db else "")
        if self.kind == "cluster":
            return f"{scheme}+cluster://{who}{where}"
        return f"{scheme}+sentinel://{who}{where}/{self.service}" + (f"/{db}" if db else "")

    def __repr__(self) -> str:
        return f"<Address {self}>"


def parse(url: str, options: Options | None = None) -> Address:
    """The address that ``url`` names. Raises ``Invalid`` without repeating what may be a secret."""
    if not url.strip():
        raise _bad("must be a string such as redis://localhost:6379/0 or embedded://.")
    parts = _read(lambda: urlsplit(url.strip()), "cannot be read as a URL.")
    if parts.fragment:
        raise _bad("has a # in it. In a user name or password write it as %23.")
    scheme = parts.scheme.lower()
    tls = scheme.startswith("rediss")
    chosen = _with_query(options or Options(), parts, tls)
    if scheme == "embedded":
        return Address("embedded", (), folder=unquote(parts.netloc + parts.path), options=chosen)
    chosen = _with_credentials(chosen, parts)
    if scheme == "unix":
        path = unquote(parts.netloc.rpartition("@")[2] + parts.path)
        if not path.startswith("/"):
            raise _bad("needs the path of a socket, such as unix:///run/valkey.sock.")
        return Address("server", (Endpoint(path=path, options=chosen),), options=chosen)
    if "@" in parts.path:
        raise _bad("has an @ after its servers. In a user name or password write / as %2F.")
    path = unquote(parts.path).strip("/")
    if scheme in ("redis", "rediss"):
        chosen = replace(chosen, db=_db(path)) if path else chosen
        (host, port), *others = _hosts(parts, DEFAULT_PORT)
        if others:
            raise _bad("names several servers. Use redis+sentinel:// or redis+cluster:// for these.")
        return Address("server", (Endpoint(host, port, tls=tls, options=chosen),), tls=tls, options=chosen)
    if scheme in ("redis+cluster", "rediss+cluster"):
        if (path and _db(path)) or chosen.db:
            raise _bad("names a database. A cluster has only database 0.")
        nodes = tuple(Endpoint(h, p, tls=tls, options=chosen) for h, p in _hosts(parts, DEFAULT_PORT))
        return Address("cluster", nodes, tls=tls, options=chosen)
    if scheme in ("redis+sentinel", "rediss+sentinel"):
        service, _, db = path.partition("/")
        if not service:
            raise _bad("needs the name of the service: redis+sentinel://host:26379/mymaster/0.")
        chosen = replace(chosen, db=_db(db)) if db else chosen
        # Sentinels have users of their own; the primary's password is none of their business.
        theirs = replace(chosen, db=0, username=chosen.sentinel_username, password=chosen.sentinel_password)
        asked = tuple(
            Endpoint(h, p, tls=tls, options=theirs) for h, p in _hosts(parts, DEFAULT_SENTINEL_PORT)
        )
        return Address("sentinel", asked, service, tls=tls, options=chosen)
    raise _bad(
        "must begin with redis://, rediss://, unix://, redis+sentinel://, rediss+sentinel://, "
        "redis+cluster://, rediss+cluster:// or embedded://."
    )


def timeouts(options: Options, role: Role) -> tuple[float, float]:
    """Seconds to wait for a connection and for a reply."""
    connect, reply = _TIMEOUTS[role]
    return options.connect_timeout or connect, options.timeout or reply


def _bad(message: str) -> Invalid:
    return Invalid("URL", message)


def _read(read: Callable[[], T], message: str) -> T:
    """What ``read`` gives. Its error may quote a piece of the password, so not even the cause is kept."""
    try:
        return read()
    except ValueError:
        pass
    raise _bad(message)


def _db(text: str) -> int:
    number = _read(lambda: int(text), "must end in the number of a database, such as /0.")
    if number < 0:
        raise _bad("must end in the number of a database, such as /0.")
    return number


def _hosts(parts: SplitResult, default_port: int) -> list[tuple[str, int]]:
    found = []
    for item in parts.netloc.rpartition("@")[2].split(","):
        one = _read(lambda: urlsplit(f"//{item}"), "names a server that cannot be read.")  # noqa: B023
        port = _read(lambda: one.port, "names a port that is not a number up to 65535.")  # noqa: B023
        if not item and "," in parts.netloc:
            raise _bad("has an empty name in its list of servers.")
        found.append((one.hostname or "localhost", default_port if port is None else port))
    return found


def _with_credentials(options: Options, parts: SplitResult) -> Options:
    who, at, _ = parts.netloc.rpartition("@")
    if not at:
        return options
    username, _, password = who.partition(":")
    return replace(
        options,
        username=unquote(username) or options.username,
        password=unquote(password) or options.password,
    )


def _with_query(options: Options, parts: SplitResult, tls: bool) -> Options:
    given: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        known = _ALIASES.get(name, name)
        reader = _READERS.get(known)
        if reader is None:
            known_names = ", ".join(sorted(_READERS))
            raise _bad(f"has a query parameter that is not known. Known: {known_names}.")
        given[known] = _read(lambda: reader(value), f"has a bad value for {known}.")  # noqa: B023
    chosen = replace(options, **given)
    if not tls and any(name.startswith("tls_") for name in given):
        raise _bad("has TLS parameters but is not a rediss:// URL.")
    return chosen


def _flag(text: str) -> bool:
    known = {"1": True, "true": True, "required": True, "0": False, "false": False, "none": False}
    if text.lower() not in known:
        raise ValueError
    return known[text.lower()]


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 3_600:
        raise ValueError
    return seconds


def _number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


_READERS: Mapping[str, Callable[[str], Any]] = {one.name: str for one in fields(Options)} | {
    "tls_verify": _flag,
    "connect_timeout": _seconds,
    "timeout": _seconds,
    "db": _number,
}

# The names that redis-py gives them, so that a URL that works elsewhere works here.
_ALIASES = {
    "ssl_ca_certs": "tls_ca",
    "ssl_certfile": "tls_cert",
    "ssl_keyfile": "tls_key",
    "ssl_cert_reqs": "tls_verify",
    "socket_timeout": "timeout",
    "socket_connect_timeout": "connect_timeout",
}
