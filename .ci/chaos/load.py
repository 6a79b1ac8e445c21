"""Writers and readers that go on whatever breaks, and the check of all they wrote.

Each worker has keys of its own, so it knows at any moment what a read of them may show.
What a worker does follows from the seed; how far it comes does not.
"""

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from acklog import Model, value_of
from client import NotSent, Unanswered
from smoke_harness import KIB, MIB

PLAIN, VERSIONED = "plain", "versioned"
# After a failure, so that a dead server is not asked in a tight loop.
PAUSE_SECONDS = 0.05
# A read that is told to slow down is asked again, this long in all.
READ_SECONDS = 60


class Sizes:
    """How large the objects are: inline ones, coded ones, and now and then parts."""

    def __init__(self, medium=300 * KIB, part=5 * MIB, parts_share=0.01):
        self.medium, self.part, self.parts_share = medium, part, parts_share

    def draw(self, rng):
        kind = rng.random()
        if kind < 0.4:
            return rng.choice([0, 1, rng.randrange(4096), 4096])
        if kind < 0.8:
            return rng.randrange(4097, 64 * KIB)
        return rng.randrange(64 * KIB, self.medium)


class Load:
    """Workers on threads; `clients` are asked in turn by each."""

    def __init__(self, clients, log, seed, workers=8, sizes=None, name="w"):
        self.clients, self.log, self.name = clients, log, name
        self.sizes = sizes or Sizes()
        self.stopping = threading.Event()
        self.complaints = []
        self.reads = self.failed_reads = 0
        self.answers = Counter()
        self.latencies = []
        self.threads = [
            threading.Thread(target=self.work, args=(n, random.Random(f"{seed}/{name}/{n}")))
            for n in range(workers)
        ]
        for thread in self.threads:
            thread.start()

    def stop(self):
        """Ends the workers and raises if one of them saw what must not be."""
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        self.check()

    def told(self):
        """How often each status was answered, and how often nothing."""
        return ", ".join(f"{count} x {what}" for what, count in sorted(self.answers.items()))

    def check(self):
        assert not self.complaints, f"{len(self.complaints)}: {self.complaints[:5]}"

    def work(self, number, rng):
        keys = []
        turn = 0
        while not self.stopping.is_set():
            client = rng.choice(self.clients)
            turn += 1
            bucket = VERSIONED if rng.random() < 0.2 else PLAIN
            fresh = (bucket, f"{self.name}/{number}/{turn}")
            try:
                if self.step(client, rng, keys, fresh):
                    continue
            except Exception as error:  # The harness itself is at fault: that is a failure too.
                self.complaints.append(f"{type(error).__name__}: {error}")
                return
            self.stopping.wait(PAUSE_SECONDS)

    def step(self, client, rng, keys, fresh):
        """One operation; whether it was answered well."""
        kind = rng.random()
        known = [at for at in rng.sample(keys, min(4, len(keys))) if self.log.may_write(*at)]
        if kind < 0.25 and keys:
            return self.read(client, rng.choice(keys))
        if kind < 0.35 and known:
            return self.write(client, known[0], None)
        if kind < 0.50 and known:
            return self.write(client, known[0], rng.randbytes(self.sizes.draw(rng)))
        keys.append(fresh)
        if rng.random() < self.sizes.parts_share:
            return self.write_parts(client, fresh, rng)
        return self.write(client, fresh, rng.randbytes(self.sizes.draw(rng)))

    def write(self, client, at, body):
        """A put, or a delete when there is no body."""
        act = (lambda: client.delete(*at)) if body is None else (lambda: client.put(*at, body))
        return self.logged(at, body, act)

    def logged(self, at, body, act):
        seq = self.log.intent(*at, body)
        begin = time.monotonic()
        try:
            answer = act()
        except NotSent:
            self.answers["not sent"] += 1
            self.log.refused(seq)
            return False
        except Unanswered:
            self.answers["no answer"] += 1
            self.log.outcome(seq, None)
            return False
        self.answers[str(answer.status)] += 1
        self.log.outcome(seq, answer)
        if answer.is_ok:
            self.latencies.append((begin, time.monotonic() - begin))
        if answer.status not in (200, 204, 503, 500):
            self.complaints.append(f"{at}: {answer.status} {answer.body[:200]}")
        return answer.is_ok

    def write_parts(self, client, at, rng):
        """Two parts; the object is there once it is completed, and not before."""
        bodies = [rng.randbytes(self.sizes.part), rng.randbytes(rng.randrange(1, self.sizes.part))]
        try:
            begun, upload = client.begin_upload(*at)
            parts = [client.put_part(*at, upload, number, body)
                     for number, body in enumerate(bodies, 1) if begun.is_ok]
        except (NotSent, Unanswered):
            return False
        if not begun.is_ok or not all(part.is_ok for part in parts):
            return False
        etags = [part.etag for part in parts]
        return self.logged(at, b"".join(bodies),
                           lambda: client.complete(*at, upload, etags))

    def read(self, client, at):
        begin = time.monotonic()
        try:
            answer = client.get(*at)
        except (NotSent, Unanswered):
            self.failed_reads += 1
            return False
        if answer.status not in (200, 404):
            self.failed_reads += 1
            if answer.status not in (500, 503):
                self.complaints.append(f"read of {at}: {answer.status} {answer.code}")
            return False
        self.reads += 1
        self.latencies.append((begin, time.monotonic() - begin))
        self.judge(at, answer)
        return True

    def judge(self, at, answer):
        if at not in self.log.model.possible:
            return
        complaint = self.log.read(at, value_of(answer.body if answer.is_ok else None))
        if complaint:
            self.complaints.append(complaint)


def read_surely(client, bucket, key, version=None):
    """Status and value of an object; asks again while it is told to slow down."""
    end = time.monotonic() + READ_SECONDS
    while True:
        try:
            answer = client.get(bucket, key, version)
            if answer.status in (200, 404):
                return value_of(answer.body if answer.is_ok else None)
            why = f"{answer.status} {answer.code}"
        except (NotSent, Unanswered) as error:
            why = str(error)
        if time.monotonic() > end:
            raise AssertionError(f"{bucket}/{key} cannot be read: {why}")
        time.sleep(PAUSE_SECONDS)


def check_keys(client, log, keys, width=8):
    """Reads these keys; complaints about what must not be."""
    def look(at):
        return log.read(at, read_surely(client, *at))
    with ThreadPoolExecutor(width) as pool:
        return [complaint for complaint in pool.map(look, sorted(keys)) if complaint]


def check_everything(client, path, width=8):
    """Holds the network against the file: every key, every version, every listing."""
    model = Model.replay(path)
    complaints = []

    def look(at):
        value = read_surely(client, *at)
        complaint = model.complaint(at, value)
        if complaint:
            complaints.append(complaint)
        return at, value

    def look_at_version(at):
        value = read_surely(client, *at)
        if value != model.versions[at]:
            complaints.append(f"version {at} shows {value}, not {model.versions[at]}")

    with ThreadPoolExecutor(width) as pool:
        shown = dict(pool.map(look, sorted(model.possible)))
        list(pool.map(look_at_version, sorted(model.versions)))
    for bucket in {bucket for bucket, _ in shown}:
        listed = client.list(bucket)
        there = {key for (found, key), value in shown.items() if found == bucket and value}
        complaints += [f"listed twice: {bucket}"] * (len(listed) != len(set(listed)))
        complaints += [f"alive, not listed: {bucket}/{key}" for key in there - set(listed)]
        complaints += [f"listed, not there: {bucket}/{key}" for key in set(listed) - there]
    assert not complaints, f"{len(complaints)} of {len(shown)}: {complaints[:5]}"
    assert model.acked, "nothing was acknowledged"
    return (f"{model.acked} acknowledged, {model.unknown} unknown, {len(shown)} keys and "
            f"{len(model.versions)} versions read, none lost, none wrong")
