"""What a worker needs of whoever knows the functions: run one claimed task, answer with its outcome."""

from __future__ import annotations

from typing import Protocol

from ..task import Bury, Claimed, Outcome


class Runner(Protocol):
    """Runs tasks by name. Every exception of a task's own becomes an outcome here, never an error."""

    def knows(self, name: str) -> bool:
        """Whether there is a function of this name. Tasks of other names are parked."""
        ...

    def is_async(self, name: str) -> bool:
        """Whether ``arun`` is to be used, on the worker's event loop."""
        ...

    def run(self, claimed: Claimed) -> Outcome:
        """Run a task in the calling thread, which may run others before and after it."""
        ...

    async def arun(self, claimed: Claimed) -> Outcome:
        """Run an async task on the running event loop."""
        ...

    def close_thread(self) -> None:
        """The calling thread will run no more tasks: let go of what belongs to it."""
        ...


def broken(error: BaseException) -> Bury:
    """The outcome of an attempt whose runner itself failed, which no task can be blamed for."""
    return Bury(reason=f"The runner failed: {describe(error)}")


def describe(error: BaseException) -> str:
    """A few words about an exception, even about one that cannot be printed. Always fit for UTF-8."""
    name = type(error).__name__
    try:
        text = str(error)[:500]
    except BaseException:  # a __str__ of the task's own may raise anything
        text = "(no text)"
    # A lone surrogate (of a file name, say) could be neither sent nor logged.
    return (f"{name}: {text}" if text else name).encode("utf-8", "backslashreplace").decode()
