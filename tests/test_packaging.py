"""What is built is what was written, and it works where nothing but the package index is at hand."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import django
import pytest

from django_fairque.engine.wire import embedded

PROJECT = Path(__file__).parent.parent
PACKAGE = PROJECT / "django_fairque"
SERIES = "dj{}{}".format(*django.VERSION[:2])
BACKPORT = ["django_tasks"] if django.VERSION < (6, 0) else []
ENDS_WITHIN_SECONDS = 120  # a hang is a failure, not a run without an end

pytestmark = pytest.mark.packaging


def output_of(command: Sequence[str | Path], *, cwd: Path, **more: str) -> str:
    """What a program printed. Its own words are the failure when it ends in one."""
    # PYTHONPATH would let the bare site see this checkout.
    ours = ("FAIRQUE", "DJANGO", "PYTHON")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=clean | more,
        text=True,
        capture_output=True,
        check=False,
        timeout=ENDS_WITHIN_SECONDS,
    )
    if done.returncode:
        what = " ".join(map(str, command))
        pytest.fail(f"{what} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    output_of([sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=PROJECT)
    return folder


def package_files() -> set[str]:
    return {
        path.relative_to(PROJECT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_package(distributions):
    (wheel,) = distributions.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())

    assert {name for name in names if ".dist-info/" not in name} == package_files()
    assert "django_fairque/py.typed" in names
    assert any(name.endswith(".lua") for name in names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_source_distribution_holds_the_package_and_its_tests(distributions):
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert package_files() <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "tests/conftest.py"} <= names


SITE = {
    "site_settings.py": (
        "SECRET_KEY = 'none'\n"
        f"INSTALLED_APPS = {['django_fairque', 'shop', *BACKPORT]}\n"
        "TASKS = {'default': {'BACKEND': 'django_fairque.backend.FairqueBackend'}}\n"
    ),
    "shop/__init__.py": "",
    "shop/tasks.py": (
        "from django_fairque import task\n\n@task\ndef greet(name: str) -> str:\n    return f'hello {name}'\n"
    ),
    "ask.py": (
        "import django\ndjango.setup()\nfrom shop.tasks import greet\nprint(greet.enqueue('world').id)\n"
    ),
    "hear.py": (
        "import sys, django\ndjango.setup()\nfrom shop.tasks import greet\n"
        "print(greet.get_result(sys.argv[1]).return_value)\n"
    ),
}
SETTINGS = {"DJANGO_SETTINGS_MODULE": "site_settings"}


@pytest.fixture(scope="module")
def site(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A site in a fresh virtual environment that has our wheel, and no ``FAIRQUE`` in its settings."""
    folder = tmp_path_factory.mktemp("site")
    (wheel,) = distributions.glob("*.whl")
    output_of([sys.executable, "-m", "venv", "venv"], cwd=folder)
    pins = PROJECT / "requirements" / f"{SERIES}.txt"
    wanted = f"{wheel}[tasks-backport]" if BACKPORT else str(wheel)
    output_of(
        [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--constraint", pins, wanted],
        cwd=folder,
    )
    for name, text in SITE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    yield folder
    embedded.stop(folder)


def test_checking_a_bare_site_finds_nothing_and_starts_no_server(site):
    python = site / "venv/bin/python"

    where = output_of([python, "-c", "import django_fairque as it; print(it.__file__)"], cwd=site)
    said = output_of([python, "-m", "django", "check"], cwd=site, **SETTINGS)

    assert Path(where).is_relative_to(site / "venv")
    assert "no issues" in said
    assert not (site / ".fairque").exists()


def test_a_bare_site_runs_a_task_without_settings_of_ours(site):
    python = site / "venv/bin/python"

    task_id = output_of([python, "ask.py"], cwd=site, **SETTINGS).strip()
    output_of([python, "-m", "django", "fairque_worker", "--burst"], cwd=site, **SETTINGS)

    assert output_of([python, "hear.py", task_id], cwd=site, **SETTINGS).strip() == "hello world"
