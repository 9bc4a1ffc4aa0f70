from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from django_fairque.engine import errors
from django_fairque.engine.keys import Keys
from django_fairque.engine.wire.bell import Bell
from django_fairque.engine.wire.connect import Options
from django_fairque.engine.wire.executor import Executor

from .conftest import echo, incr
from .tls import Authority, Proxy

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificates with openssl")


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("others"), "others")


@pytest.fixture(scope="module")
def certificate(ours: Authority) -> tuple[Path, Path]:
    return ours.sign("server", host="IP:127.0.0.1")


@pytest.fixture
def proxy(server) -> Iterator[Callable[..., Proxy]]:
    opened: list[Proxy] = []

    def start(certificate: tuple[Path, Path], clients: Authority | None = None) -> Proxy:
        if server.socket is None:
            pytest.skip("the proxy hands on to a Unix socket")
        opened.append(Proxy(server.socket, certificate, clients))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_a_server_with_a_certificate_of_the_given_authority_is_trusted(
    proxy, connect, ours, certificate, keys
):
    port = proxy(certificate).port

    assert connect(f"rediss://127.0.0.1:{port}?tls_ca={ours.file}").run(incr(keys.clock)) == 1
    with_options = connect(f"rediss://127.0.0.1:{port}", options=Options(tls_ca=str(ours.file)))
    assert with_options.run(echo("x" * 100_000)) == [b"x" * 100_000]


def test_a_server_of_another_authority_is_refused(proxy, connect, others, certificate):
    port = proxy(certificate).port

    for url in (f"rediss://127.0.0.1:{port}?tls_ca={others.file}", f"rediss://127.0.0.1:{port}"):
        with pytest.raises(errors.Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
            connect(url).call("PING")


def test_a_server_with_another_name_is_refused(proxy, connect, ours):
    port = proxy(ours.sign("elsewhere", host="DNS:elsewhere.example")).port

    with pytest.raises(errors.Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        connect(f"rediss://127.0.0.1:{port}?tls_ca={ours.file}").call("PING")
    assert connect(f"rediss://127.0.0.1:{port}?tls_verify=0").call("PING") == b"PONG"


def test_a_client_shows_its_certificate(proxy, connect, ours, certificate):
    listening = proxy(certificate, ours)
    mine, key = ours.sign("worker-001")
    url = f"rediss://127.0.0.1:{listening.port}?tls_ca={ours.file}"

    assert connect(f"{url}&tls_cert={mine}&tls_key={key}").call("PING") == b"PONG"
    assert listening.clients == ["worker-001"]
    with pytest.raises(errors.Unavailable):
        connect(url).call("PING")


def test_a_missing_certificate_file_is_named(connect):
    with pytest.raises(errors.FairqueError):
        connect("rediss://127.0.0.1:1?tls_ca=/nowhere.pem").call("PING")


def test_a_bell_rings_through_tls(proxy, ours, certificate, server, keys: Keys):
    executor = Executor(f"rediss://127.0.0.1:{proxy(certificate).port}?tls_ca={ours.file}", role="worker")
    with Bell(executor, [keys]) as bell:
        for _ in range(3):
            bell.arm([[keys.bell("default", "*")]], 20)
            server.cli("RPUSH", keys.bell("default", "*"), "1")
            assert bell.wait(20)
    executor.close()
