from __future__ import annotations

import logging
import traceback

import pytest

from django_fairque.engine.errors import Invalid, Unavailable
from django_fairque.engine.wire.connect import Options, parse
from django_fairque.engine.wire.executor import Executor

SECRET = "s3cret@/:#"
CODED = "s3cret%40%2F%3A%23"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://", "redis://localhost:6379"),
        ("redis://h:1/2", "redis://h:1/2"),
        ("rediss://[::1]:7", "rediss://[::1]:7"),
        ("unix:///run/v.sock?db=3", "unix:///run/v.sock?db=3"),
        ("redis+sentinel://a:1,b/svc/4", "redis+sentinel://a:1,b:26379/svc/4"),
        ("rediss+cluster://a,b:2", "rediss+cluster://a:6379,b:2"),
        ("embedded://", "embedded://"),
        ("embedded:///srv/site", "embedded:///srv/site"),
    ],
)
def test_a_url_says_where_the_server_is(url, shown):
    assert str(parse(url)) == shown


def test_credentials_are_decoded():
    options = parse(f"redis://ann:{CODED}@h").options

    assert (options.username, options.password) == ("ann", SECRET)


def test_sentinels_are_not_told_the_password_of_the_primary():
    address = parse(f"redis+sentinel://ann:{CODED}@a,b/svc?sentinel_password=other")

    assert [one.options.password for one in address.endpoints] == ["other", "other"]
    assert address.options.password == SECRET


def test_the_query_may_name_the_certificates():
    options = parse("rediss://h?tls_ca=/ca.pem&ssl_certfile=/c.pem&tls_verify=0&timeout=0.5").options

    assert options == Options(tls_ca="/ca.pem", tls_cert="/c.pem", tls_verify=False, timeout=0.5)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://ann:{CODED}@h:1/2",
        f"redis://{CODED}@h",
        f"redis://h?password={CODED}",
        f"unix://:{CODED}@/x.sock",
        f"unix:///x.sock?password={CODED}",
        f"redis+cluster://:{CODED}@h",
        f"redis+sentinel://:{CODED}@h/svc?sentinel_password={CODED}",
    ],
)
def test_an_address_shows_no_credentials(url):
    address = parse(url)
    shown = f"{address} {address!r} {address.options!r} {address.endpoints!r} {Executor(url)!r}"

    assert "s3cret" not in shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "s3cret",
        "http://:s3cret@h",
        "redis://h:s3cret",
        "redis://h:99999999/s3cret",
        "redis://:s3cret#x@h",
        "redis://:#s3cret@h",
        "redis://:s3/cret@h:1/0",
        "redis://:x?s3cret@h",
        "redis://:/s3cret@h",
        "redis://h/s3cret",
        "redis://h?s3cret=1",
        "redis://h?timeout=s3cret",
        "redis://[s3cret",
        "redis://h?tls_ca=s3cret",
        "redis+sentinel://:s3cret@h",
        "redis+sentinel://:x/s3cret@h/svc",
        "redis+cluster://:s3cret@h/3",
        "redis://:s3cret@a,b",
        "unix://:s3cret@",
    ],
)
def test_a_bad_url_is_refused_without_repeating_it(url):
    with pytest.raises(Invalid) as caught:
        parse(url)

    assert caught.value.field == "URL"
    assert "s3cret" not in "".join(traceback.format_exception(caught.value)).replace(repr(url), "")


def test_a_failed_connection_shows_no_credentials(connect, caplog, short_path):
    caplog.set_level(logging.DEBUG)
    executor = connect(f"unix://ann:{CODED}@{short_path}/nobody.sock?sentinel_password=s3cret")

    with pytest.raises(Unavailable) as caught:
        executor.call("PING")

    assert "s3cret" not in "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "nobody.sock" in str(caught.value)
