"""django-fairque in the side-by-side comparison: default settings, Django's Tasks API, results stored.

Each call chooses its user by ``using(user_id=...)``, as a view does. The worker is one
``fairque_worker`` command with one child process; the io profile raises its concurrency to 100.
"""

import os
import sys

SPEC = {
    "venv": "fairque_django",
    "dists": ["django-fairque", "django", "redis", "hiredis"],
    "n": 60000,
    "results": "task hash + result, TTL",
    "conc": "the default (io: 100), no prefetch beyond free slots",
    "env": {"DJANGO_SETTINGS_MODULE": "benchmarks.settings"},
    "variants": {
        "threads": {},
        "async": {},
        "u1": {},
        "u1000": {},
        "u10000": {},
    },
}

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)
os.environ["PYTHONPATH"] = os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])
USERS = {"u1": 1, "u1000": 1000, "u10000": 10000}


class Producer:
    is_async = False

    def __init__(self, variant, url):
        import django

        django.setup()
        from benchmarks import tasks

        self.users = USERS.get(variant, 16)
        awaits = variant == "async"
        self.tasks = {
            "noop": tasks.anoop if awaits else tasks.noop,
            "sleep": tasks.asleepy if awaits else tasks.sleepy,
        }

    def enqueue_one(self, task, i, s):
        self.tasks[task].using(user_id=f"user-{i % self.users}").enqueue(i, s)

    def enqueue_many(self, task, items):
        chosen = [self.tasks[task].using(user_id=f"user-{k}") for k in range(min(self.users, len(items)))]
        n = len(chosen)
        chosen[0].get_backend().enqueue_many([(chosen[i % n], (i, s), {}) for i, s in items])


def worker(variant, url, profile):
    command = [sys.executable, "-m", "django", "fairque_worker"]
    if profile == "io":
        command += ["--concurrency", "100"]
    elif "BENCH_CONCURRENCY" in os.environ:  # to see what the default costs or gains
        command += ["--concurrency", os.environ["BENCH_CONCURRENCY"]]
    os.execv(sys.executable, command)
