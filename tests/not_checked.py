"""Say loudly that a check could not be made, rather than let it pass."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

LOUDLY = "NOT CHECKED: "


def not_checked(what: str, why: str) -> NoReturn:
    """End a test that lacks something. With ``CI=true`` it fails, because CI must install it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} could not be checked: {why}")
    pytest.skip(f"{LOUDLY}{what}, because {why}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = sorted(
        {
            report.longrepr[2].partition(LOUDLY)[2]
            for report in terminalreporter.stats.get("skipped", ())
            if isinstance(report.longrepr, tuple) and LOUDLY in report.longrepr[2]
        }
    )
    if reasons:
        terminalreporter.section("NOT CHECKED", red=True, bold=True)
        for reason in reasons:
            terminalreporter.line(f"NOT CHECKED: {reason}", red=True)
