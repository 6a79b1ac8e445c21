"""Faults that happen side by side while a load goes on: lanes, each with a list drawn from the
seed. A lane breaks one thing, waits, mends it, and goes on, so that what is broken at a time is
bounded by the number of lanes.

Not here: how a network is built (cluster), and what must hold (load).
"""

import subprocess
import threading
import time

# How long each kind lasts, in seconds.
LASTS = {
    "kill": (0.0, 1.5),
    "freeze": (0.5, 6.0),
    "partition": (1.0, 5.0),
    "one-way partition": (1.0, 5.0),
    "loss": (2.0, 6.0),
    "disk full": (3.0, 6.0),
    "fsync error": (0.5, 2.0),
}


class Targets:
    """Processes of one kind; a lane takes one that no other lane has."""

    def __init__(self, processes):
        self.free = list(processes)
        self.role = self.free[0].role
        self.lock = threading.Lock()

    def take(self, rng):
        with self.lock:
            return self.free.pop(rng.randrange(len(self.free)))

    def give_back(self, process):
        with self.lock:
            self.free.append(process)


class Lane(threading.Thread):
    """Works its list off, evenly over the time it has."""

    def __init__(self, rng, targets, kinds, seconds, faults):
        super().__init__()
        self.rng, self.targets, self.faults = rng, targets, faults
        self.list = [kind for kind, count in kinds.items() for _ in range(count)]
        rng.shuffle(self.list)
        self.seconds = seconds
        self.error = None

    def run(self):
        begin = time.monotonic()
        try:
            for number, kind in enumerate(self.list):
                due = begin + self.seconds * number / len(self.list)
                if self.faults.stopping.wait(max(0.0, due - time.monotonic())):
                    return
                self.inject(kind)
        except Exception as error:
            self.error = error
            self.faults.stopping.set()

    def inject(self, kind):
        process = self.targets.take(self.rng)
        try:
            process.assert_alive()
            self.faults.inject(self.rng, kind, process)
        finally:
            self.targets.give_back(process)


class Faults:
    """How each kind is done to a process; `peers` are the machines that it talks to."""

    def __init__(self, lines, planned, peers, fillers=None):
        self.lines, self.planned, self.peers = lines, planned, peers
        self.fillers = fillers or {}
        self.stopping = threading.Event()
        self.lanes = []

    def add(self, rng, targets, seconds, **kinds):
        kinds = {kind.replace("_", " ").replace("one way", "one-way"): count
                 for kind, count in kinds.items()}
        for kind, count in kinds.items():
            self.planned.plan(kind, count)
            if kind == "kill":
                self.planned.plan(f"kill of {targets.role}", count)
        self.lanes.append(Lane(rng, targets, kinds, seconds, self))

    def run(self, check):
        """Until all lanes are through; `check` is asked now and then."""
        for lane in self.lanes:
            lane.start()
        try:
            for lane in self.lanes:
                while lane.is_alive():
                    lane.join(0.5)
                    check()
        finally:
            self.stopping.set()
            for lane in self.lanes:
                lane.join()
        for lane in self.lanes:
            if lane.error:
                raise lane.error

    def inject(self, rng, kind, process):
        seconds = rng.uniform(*LASTS[kind])
        getattr(self, kind.replace(" ", "_").replace("-", "_"))(rng, process, seconds)
        self.planned.count(kind)
        if kind == "kill":
            self.planned.count(f"kill of {process.role}")

    def hold(self, seconds):
        self.stopping.wait(seconds)

    def kill(self, _rng, process, seconds):
        process.kill()
        self.hold(seconds)
        process.start()

    def freeze(self, _rng, process, seconds):
        process.freeze()
        try:
            self.hold(seconds)
        finally:
            process.thaw()

    def broken_line(self, process, seconds, break_it):
        try:
            break_it()
            self.hold(seconds)
        finally:
            self.lines.mend(process.name)

    def peer(self, rng, process):
        """One of those it talks to, or everybody."""
        return rng.choice([None, *(peer for peer in self.peers if peer != process.name)])

    def partition(self, rng, process, seconds):
        peer = self.peer(rng, process)
        self.broken_line(process, seconds, lambda: self.lines.cut(process.name, peer))

    def one_way_partition(self, rng, process, seconds):
        peer, is_inward = self.peer(rng, process), rng.random() < 0.5
        self.broken_line(process, seconds, lambda: self.lines.cut(
            process.name, peer, inward=is_inward, outward=not is_inward))

    def loss(self, rng, process, seconds):
        share = rng.uniform(0.05, 0.30)
        self.broken_line(process, seconds, lambda: self.lines.lose(process.name, share))

    def disk_full(self, _rng, process, seconds):
        filler = self.fillers[process.name]
        filler.fill()
        try:
            self.hold(seconds)
        finally:
            filler.free()

    def fsync_error(self, _rng, process, seconds):
        """Every sync fails for a while; then it crashes, as it might have."""
        calls = "fsync,fdatasync"
        tracer = subprocess.Popen(
            ["strace", "-f", "-q", "-o", "/dev/null", "-p", str(process.process.pid),
             "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.hold(seconds)
        finally:
            process.kill()
            tracer.wait(30)
        process.start()
