from __future__ import annotations

from hashlib import sha1

from django_fairque.engine.wire import scripts


def test_a_script_begins_with_its_shebang_and_holds_each_include_once():
    text = scripts.source("nested")

    assert text.startswith("#!lua\n")
    assert text.count("local function same") == 1
    assert text.index("local function same") < text.index("local function outer")
    assert "--@include" not in text


def test_a_script_is_named_by_the_digest_of_its_text():
    assert scripts.sha("nested") == sha1(scripts.source("nested").encode()).hexdigest()


def test_a_script_is_read_once(lua):
    before = scripts.source("echo")
    (lua / "echo.lua").write_text("#!lua\nreturn 1\n")

    assert scripts.source("echo") is before
