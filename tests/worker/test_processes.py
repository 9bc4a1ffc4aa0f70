"""Worker commands as an operator meets them: signals, crashes, bursts. Real processes throughout."""

from __future__ import annotations

import os
import signal

import pytest

from django_fairque.engine.task import State

from .conftest import OwnServer, Site, is_alive, wait_for

pytestmark = pytest.mark.processes


class TestABurst:
    def test_runs_everything_once_and_ends(self, site: Site) -> None:
        tasks = [site.enqueue("note", n, user_id=f"user-{n % 5}") for n in range(50)]

        worker = site.run("--burst", "--processes", "2")

        assert sorted(site.labels("ran"), key=int) == [str(n) for n in range(50)]
        assert {site.state(task_id) for task_id in tasks} == {State.FINISHED}
        assert site.registered() == []
        assert "serves everybody" in worker.said()

    def test_replaces_processes_after_so_many_tasks(self, site: Site) -> None:
        for n in range(10):
            site.enqueue("note", n)

        site.run("--burst", "--max-tasks", "4", "--concurrency", "3")

        by_process = [line[2] for line in site.lines("ran")]
        assert sorted(by_process.count(pid) for pid in set(by_process)) == [2, 4, 4]

    def test_ends_although_a_task_kills_its_process_again_and_again(self, site: Site) -> None:
        site.settings = {"MAX_DELIVERIES": 2}
        killer = site.enqueue("deadly", "killer")
        tasks = [site.enqueue("note", n, user_id="other") for n in range(5)]

        worker = site.run("--burst", "--concurrency", "1")

        record = site.read(killer)
        assert record.state is State.FAILED
        assert len(site.lines("began")) == 2
        assert {site.state(task_id) for task_id in tasks} == {State.FINISHED}
        assert "died by signal SIGKILL" in worker.said()


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    @pytest.mark.parametrize("kind", ["slow", "aslow"])
    def test_what_runs_is_finished_and_nothing_more_is_begun(
        self, site: Site, number: signal.Signals, kind: str
    ) -> None:
        tasks = [site.enqueue(kind, n) for n in range(5)]
        worker = site.start("--concurrency", "2")
        site.wait_for_lines("began", 2)

        os.kill(worker.pid, number)
        wait_for(lambda: "finishing what runs" in worker.said())
        site.open_gate()

        assert worker.wait() == 0
        assert len(site.lines("ended")) == 2
        states = [site.state(task_id) for task_id in tasks]
        assert (states.count(State.FINISHED), states.count(State.QUEUED)) == (2, 3)
        assert site.registered() == []

    def test_a_signal_to_the_whole_group_does_the_same(self, site: Site) -> None:
        tasks = [site.enqueue("slow", n) for n in range(2)]
        worker = site.start("--concurrency", "2")
        site.wait_for_lines("began", 2)

        for pid in (*worker.children(), worker.pid):  # what a terminal does on Ctrl-C
            os.kill(pid, signal.SIGINT)
        wait_for(lambda: "finishing what runs" in worker.said())
        site.open_gate()

        assert worker.wait() == 0
        assert {site.state(task_id) for task_id in tasks} == {State.FINISHED}

    def test_after_the_grace_period_tasks_are_taken_back(self, site: Site) -> None:
        tasks = [site.enqueue("slow", n) for n in range(2)]
        worker = site.start("--concurrency", "2", "--grace", "0.1")
        site.wait_for_lines("began", 2)

        os.kill(worker.pid, signal.SIGTERM)

        assert worker.wait() == 0
        for task_id in tasks:
            record = site.read(task_id)
            assert (record.state, record.attempts) == (State.QUEUED, 0)
        assert site.registered() == []

    def test_a_second_signal_does_not_wait(self, site: Site) -> None:
        task_id = site.enqueue("slow", "one")
        worker = site.start("--grace", "600")
        site.wait_for_lines("began", 1)
        children = worker.children()

        os.kill(worker.pid, signal.SIGTERM)
        wait_for(lambda: "finishing what runs" in worker.said())
        os.kill(worker.pid, signal.SIGTERM)

        worker.wait()
        assert not any(is_alive(pid) for pid in children)
        assert site.state(task_id) is State.QUEUED

    def test_a_child_that_is_told_to_stop_finishes_and_is_replaced(self, site: Site) -> None:
        first = site.enqueue("slow", "first")
        worker = site.start("--concurrency", "1")
        ((_, _, child, _),) = site.wait_for_lines("began", 1)

        os.kill(int(child), signal.SIGTERM)
        site.open_gate()
        site.wait_for_lines("ended", 1)
        site.enqueue("note", "second")

        ((_, _, another, _),) = site.wait_for_lines("ran", 1)
        assert another != child
        assert site.state(first) is State.FINISHED
        assert "died" not in worker.said()


class TestCrashes:
    def test_tasks_of_a_child_that_dies_run_again_at_once(self, site: Site) -> None:
        site.settings = {"LEASE": 3600}  # nothing but the supervisor can give them back in time
        tasks = [site.enqueue("deadly_once", n) for n in range(2)]
        worker = site.start("--concurrency", "2")

        wait_for(lambda: {site.state(task_id) for task_id in tasks} == {State.FINISHED})

        assert {site.read(task_id).attempts for task_id in tasks} == {0}
        assert len(site.registered()) == 1
        assert "died by signal SIGKILL" in worker.said()

    def test_children_die_with_their_supervisor(self, site: Site) -> None:
        site.settings = {"LEASE": 1}
        task_id = site.enqueue("slow", "one")
        worker = site.start("--processes", "2", "--concurrency", "1")
        wait_for(lambda: len(site.registered()) == 2)
        site.wait_for_lines("began", 1)
        children = worker.children()

        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()

        wait_for(lambda: not any(is_alive(pid) for pid in children))
        # Another worker gets the task when the lease has ended, without anybody's help.
        site.start()
        site.wait_for_lines("began", 2)
        site.open_gate()
        wait_for(lambda: site.state(task_id) is State.FINISHED)

    def test_a_child_that_lost_its_lease_goes_on_under_another_name(self, site: Site) -> None:
        site.settings = {"LEASE": 1}
        worker = site.start()
        (first,) = wait_for(site.registered)

        site.expel(first.id)

        wait_for(lambda: [one.id for one in site.registered()] not in ([], [first.id]))
        site.enqueue("note", "after")
        site.wait_for_lines("ran", 1)
        assert len(worker.children()) == 1


class TestTogether:
    def test_two_commands_share_the_work_and_run_nothing_twice(self, site: Site) -> None:
        for n in range(4):
            site.enqueue("slow", n, user_id=f"user-{n}")
        site.start("--concurrency", "2")
        site.start("--concurrency", "2")
        began = site.wait_for_lines("began", 4)

        site.open_gate()
        site.wait_for_lines("ended", 4)

        assert len({line[2] for line in began}) == 2
        assert sorted(site.labels("began")) == ["0", "1", "2", "3"]

    def test_leases_are_renewed_while_tasks_keep_the_interpreter_to_themselves(self, site: Site) -> None:
        site.settings = {"LEASE": 1}
        task_id = site.enqueue("hog", "one", 2.5)

        site.run("--burst")

        assert site.labels("began") == ["one"]
        record = site.read(task_id)
        assert (record.state, record.lost) == (State.FINISHED, 0)


class TestTheServerIsAway:
    def test_a_worker_waits_for_the_server_and_goes_on(self, site: Site, own_server: OwnServer) -> None:
        site.use(own_server.url)
        own_server.start()
        worker = site.start()
        wait_for(site.registered)
        own_server.stop()
        wait_for(lambda: "keeps trying" in worker.said())

        own_server.start()

        wait_for(lambda: "answers again" in worker.said())
        site.enqueue("note", "after")
        site.wait_for_lines("ran", 1)
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait() == 0
        assert worker.said().count("keeps trying") == 1

    def test_a_worker_that_never_found_a_server_stops_all_the_same(
        self, site: Site, own_server: OwnServer
    ) -> None:
        site.use(own_server.url)
        worker = site.start()
        wait_for(lambda: "keeps trying" in worker.said())

        os.kill(worker.pid, signal.SIGTERM)

        assert worker.wait() == 0
        assert "Traceback" not in worker.said()
