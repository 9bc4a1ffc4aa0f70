"""``@task``: what it makes, its copies, its name, and pickling."""

from __future__ import annotations

import pickle
import subprocess
import sys
from types import FunctionType
from typing import Any

import django
import pytest
from django.core.exceptions import ImproperlyConfigured

from django_fairque import FairqueTask, Priority, Retry, registry, task
from django_fairque.compat import InvalidTask, Task, task_backends
from django_fairque.engine.errors import Invalid
from tests.app import tasks


def module_level(name: str, source: str = "def {name}(*args): pass") -> FunctionType:
    """A function as if ``tests.app.made`` defined it."""
    space: dict[str, object] = {"__name__": "tests.app.made"}
    exec(compile(source.format(name=name), f"{name}.py", "exec"), space)
    made = space[name]
    assert isinstance(made, FunctionType)
    return made


def test_bare_and_with_choices_it_makes_a_task_of_django_s() -> None:
    assert isinstance(tasks.add, FairqueTask) and isinstance(tasks.add, Task)
    assert tasks.add.name == "add" and tasks.add.module_path == "tests.app.tasks.add"
    assert (tasks.add.priority, tasks.add.queue_name, tasks.add.backend) == (0, "default", "default")
    assert (tasks.for_acme.priority, tasks.for_acme.user_id) == (Priority.HIGH, "acme")
    assert tasks.for_acme.retry == Retry.fixed(5, max_attempts=3)


def test_it_can_be_called_without_a_queue() -> None:
    assert tasks.add.call(1, 2) == 3
    awaited: Any = tasks.aadd.call(1, 2)
    assert awaited == 3


def test_django_s_own_decorator_makes_the_same_class() -> None:
    if django.VERSION >= (6, 0):
        from django.tasks import task as decorator
    else:
        from django_tasks import task as decorator  # type: ignore[import-not-found,no-redef,unused-ignore]

    decorate: Any = decorator
    made = decorate(module_level("by_django"))
    assert type(made) is FairqueTask
    assert registry.find("tests.app.made.by_django") is made
    if django.VERSION >= (6, 1):
        made = decorate(user_id="acme", retry=Retry.fixed(1))(module_level("by_django_61"))
        assert made.user_id == "acme"


def test_using_makes_a_copy_and_leaves_the_task_alone() -> None:
    copy = tasks.add.using(user_id="acme", priority=9, enqueue_on_commit=False, task_id="x")

    assert (copy.user_id, copy.priority, copy.enqueue_on_commit, copy.task_id) == ("acme", 9, False, "x")
    assert copy.func is tasks.add.func and copy != tasks.add
    assert tasks.add.user_id is None and tasks.add.priority == 0
    assert copy.using(priority=0, user_id="globex", enqueue_on_commit=True).user_id == "globex"
    assert tasks.add.using() == tasks.add and hash(tasks.add.using()) == hash(tasks.add)


def test_immediate_is_short_for_not_waiting_for_the_commit() -> None:
    assert tasks.add.using(immediate=True) == tasks.add.using(enqueue_on_commit=False)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"user_id": ""}, "user_id: must not be empty"),
        ({"user_id": "ü" * 300}, "user_id: is 600 bytes long; the limit is 512"),
        ({"user_id": 7}, "user_id: must be a string, not int"),
        ({"user_id": "\ud800"}, "user_id: holds a lone surrogate"),
        ({"priority": 101}, "between -100 and 100"),
        ({"priority": -101}, "between -100 and 100"),
        ({"priority": 1.5}, "whole number"),
        ({"priority": "high"}, "whole number"),
        ({"queue_name": "nowhere"}, "Queue 'nowhere' is not valid"),
        ({"task_id": ""}, "task_id: must not be empty"),
        ({"task_id": "x" * 300}, "task_id: is 300 bytes long"),
        ({"retry": 3}, "retry: must be made by"),
        ({"run_after": 5}, "run_after must be an aware datetime or a timedelta, not int"),
    ],
)
def test_a_copy_with_a_bad_choice_is_refused(changes: dict, told: str) -> None:
    with pytest.raises(InvalidTask, match=told):
        tasks.add.using(**changes)


def test_what_is_no_function_of_a_module_is_refused() -> None:
    def local() -> None: ...

    for function in (local, len, lambda: None):
        with pytest.raises(InvalidTask, match="module level"):
            task(function)


def test_a_task_that_takes_the_context_must_name_it() -> None:
    with pytest.raises(InvalidTask, match="context"):
        task(takes_context=True)(module_level("without_context"))


def test_the_decorator_takes_no_choices_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="run_after"):
        task(run_after=None)  # type: ignore[call-overload]


def test_two_functions_of_one_name_are_an_error() -> None:
    first = task(module_level("twice"))
    task(module_level("twice"))  # its module loaded again
    with pytest.raises(InvalidTask, match=r"tests\.app\.made\.twice"):
        task(module_level("twice", "\n\n\ndef {name}(): pass"))
    found = registry.find("tests.app.made.twice")
    assert found is not None and found.module_path == first.module_path


def test_a_copy_does_not_take_the_place_of_the_task() -> None:
    tasks.add.using(user_id="acme")
    assert registry.find("tests.app.tasks.add") is tasks.add


def test_only_tasks_are_found_by_name() -> None:
    for name in (
        "os.system",
        "tests.app.tasks.plain",
        "tests.app.tasks.seen",
        "tests.app.tasks.nothing",
        "x",
        "",
    ):
        assert registry.find(name) is None


def test_apps_task_modules_are_found_when_django_starts() -> None:
    assert "tests.app.tasks.add" in registry.names()


def test_a_task_survives_pickling() -> None:
    copy = tasks.add.using(user_id="acme", priority=Priority.HIGH, retry=Retry.exponential())
    again = pickle.loads(pickle.dumps(copy))

    assert again == copy and type(again) is FairqueTask
    assert again.func is tasks.add.func
    assert pickle.loads(pickle.dumps(tasks.add)) == tasks.add


def test_a_result_survives_pickling() -> None:
    result = tasks.add.enqueue(1)
    assert pickle.loads(pickle.dumps(result)) == result


def test_another_backend_takes_our_tasks() -> None:
    from django.test import override_settings

    module = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
    elsewhere = {
        "default": {"BACKEND": "django_fairque.backend.FairqueBackend"},
        "now": {"BACKEND": f"{module}.backends.immediate.ImmediateBackend"},
    }
    with override_settings(TASKS=elsewhere):
        now = tasks.add.using(backend="now")
        assert now.enqueue(1, 2).return_value == 3
        assert [r.return_value for r in now.enqueue_many([(1,), {"a": 2}])] == [1, 2]
        assert "now" in task_backends


def test_the_engine_is_imported_without_django() -> None:
    program = (
        "import sys, django_fairque, django_fairque.engine.enqueue, django_fairque.engine.work.supervisor;"
        "assert not {'django', 'asgiref'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_a_tasks_api_the_way_to_get_one_is_told() -> None:
    program = (
        "import sys; sys.modules['django.tasks'] = sys.modules['django_tasks'] = None\n"
        "from django.core.exceptions import ImproperlyConfigured\n"
        "try: import django_fairque.compat\n"
        "except ImproperlyConfigured as error: assert 'django-fairque[tasks-backport]' in str(error)\n"
        "else: sys.exit('no error')"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_name_the_package_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(ImportError):
        from django_fairque import nothing  # noqa: F401


@pytest.mark.parametrize("wrong", [{"max_attempts": 0}, {"max_attempts": True}, {"delay": -1}, {"jitter": 2}])
def test_a_rule_with_bad_numbers_is_refused(wrong: dict) -> None:
    with pytest.raises(Invalid):
        Retry.fixed(**wrong)


def test_wrong_settings_do_not_stop_task_modules_from_loading() -> None:
    from django.test import override_settings

    with override_settings(FAIRQUE={"URLL": ""}):
        task(module_level("under_wrong_settings"))
        with pytest.raises(ImproperlyConfigured):
            tasks.add.enqueue(1)
