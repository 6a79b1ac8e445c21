#!/usr/bin/env python3
"""R13: what happens at the limits. Whoever is refused is told to slow down, with Retry-After,
and soon; nothing that was acknowledged is lost; and when there is room again, all goes on.

    limits.py --binary target/release/stratos [--gib 1] [--slow 900] [--seed N]

Few file descriptors, little memory with many slow clients, disks of nodes and of a gateway
that are full. Not here: a metadata database that goes away, which needs PostgreSQL.
"""

import random
import resource
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import base  # noqa: E402
from base import need_root  # noqa: E402
from cgroup import MemoryLimit  # noqa: E402
from client import Client, NotSent, Unanswered, read_answer  # noqa: E402
from cluster import Roles, Up, loopback  # noqa: E402
from disks import Filler, Image, need_disks  # noqa: E402
from pressure import Idle, Memory, SlowClients  # noqa: E402
from smoke_harness import GIB, KIB, MIB, wait_until  # noqa: E402

BUCKET = "limits"
RECOVERY_SECONDS = 30
# An answer that takes longer is a hang.
ANSWER_SECONDS = 45
FILES = 256
IDLE_CONNECTIONS = 320
PRESSED_SECONDS = 15
MEMORY = 400 * MIB
# How much more the server may hold late in a long upload than early in it.
FLAT = 48 * MIB
UPLOADS = 500
# How many writes a full disk may take from what was set aside, as a log that is reused.
PRESS = 8192
# Of each kind of write while there is no room.
REFUSED = 6


def add_options(parser):
    parser.add_argument("--gib", type=float, default=1, help="size of the long upload (5)")
    parser.add_argument("--slow", type=int, default=900, help="slow clients at a time")


class Objects:
    """Objects that were stored before, and must be readable all along."""

    def __init__(self, client):
        self.client, self.bodies = client, {}
        client.create_bucket(BUCKET)
        for size in (0, 100, 4096, 5000, 200 * KIB, 3 * MIB):
            self.bodies[f"before/{size}"] = random.Random(size).randbytes(size)
        for key, body in self.bodies.items():
            assert client.put(BUCKET, key, body).is_ok

    def assert_read(self):
        for key, body in self.bodies.items():
            answer = self.client.get(BUCKET, key)
            assert answer.is_ok and answer.body == body, f"{key}: {answer.status} {answer.code}"


def writes(client, number):
    """One write of each kind: name, and what sends it."""
    inline, coded = bytes(4096), random.Random(number).randbytes(300 * KIB)
    key = f"during/{number}"
    return {
        "inline put": lambda: client.put(BUCKET, key, inline),
        "coded put": lambda: client.put(BUCKET, key, coded),
        "begun upload": lambda: client.begin_upload(BUCKET, key)[0],
        "copy": lambda: client.ask("PUT", f"/{BUCKET}/{key}",
                                   headers={"x-amz-copy-source": f"/{BUCKET}/before/5000"}),
        "tags": lambda: client.ask("PUT", f"/{BUCKET}/before/100", {"tagging": ""}, body=(
            b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>")),
        "delete": lambda: client.delete(BUCKET, key),
    }


def wrong_with(answer):
    """None if it is done or told to slow down; else what it should not have been."""
    if answer.is_ok:
        return None
    retry = answer.headers["Retry-After"]
    is_right = answer.status == 503 and answer.code == "SlowDown" and retry is not None
    return None if is_right else f"{answer.status} {answer.code}, Retry-After {retry}"


class Judge:
    """Sends writes, and counts what was done, refused as it should be, or otherwise."""

    def __init__(self):
        self.done, self.refused, self.wrong = Counter(), Counter(), Counter()

    def send(self, what, send):
        """Whether it was done."""
        try:
            answer = send()
        except (NotSent, Unanswered) as error:
            self.wrong[f"{what}: no answer ({error})"] += 1
            return False
        wrong = wrong_with(answer)
        if wrong:
            self.wrong[f"{what}: {wrong}"] += 1
        (self.done if answer.is_ok else self.refused)[what] += 1
        return answer.is_ok

    def assert_right(self):
        assert not self.wrong, f"{dict(self.wrong)} beside {self}"

    def __str__(self):
        return f"done {dict(self.done)}, refused {dict(self.refused)}"


def takes_writes(client):
    try:
        return all(send().is_ok for send in writes(client, 1000).values())
    except (NotSent, Unanswered):
        return False


def await_recovery(client, objects):
    begin = time.monotonic()
    wait_until(RECOVERY_SECONDS, "recovery", lambda: takes_writes(client), every=0.25)
    objects.assert_read()
    return f"recovered within {time.monotonic() - begin:.1f} s"


def press(client, judge, what):
    """Sends one kind of write until it is refused: room that was set aside is used up first."""
    with ThreadPoolExecutor(8) as pool:
        for start in range(0, PRESS, 64):
            sends = [writes(client, f"press/{start + n}")[what] for n in range(64)]
            if not all(pool.map(lambda send: judge.send(what, send), sends)):
                return
    raise AssertionError(f"a full disk took {PRESS} x {what}")


def fill_and_recover(client, objects, filler, pressed):
    """The disk is full, then it is not."""
    filler.fill()
    judge = Judge()
    press(client, judge, pressed)
    for number in range(REFUSED):
        for what, send in writes(client, number).items():
            judge.send(what, send)
    objects.assert_read()
    filler.free()
    told = await_recovery(client, objects)
    judge.assert_right()
    return f"{judge}; {told}"


def small_folder(chaos, name, filesystem, size, folder):
    """A network folder with one of its folders on a small disk; and that disk."""
    need_disks(filesystem)
    image = Image(chaos, f"{name}-disk", filesystem, size)
    directory = chaos.folder(f"{name}-data")
    directory.chmod(0o700)
    (image.at / folder).mkdir(mode=0o700)
    (directory / folder).symlink_to(image.at / folder)
    return directory, image


def a_full_disk_of_the_nodes_is_told_and_passes(chaos):
    """Of `up`: its nodes leave a reserve alone, so some room is left in truth."""
    directory, image = small_folder(chaos, "reserve", "ext4", 3 * GIB, "nodes")
    network = Up(chaos, "reserve", directory=directory)
    network.start()
    client = network.client(timeout=ANSWER_SECONDS)
    objects = Objects(client)
    told = fill_and_recover(client, objects, Filler(image.at), "coded put")
    network.stop()
    image.unmount()
    return told


def nodes_without_a_single_byte_left_lose_nothing(chaos):
    """Nodes that keep no reserve: the disk itself says no, in the middle of a write."""
    need_disks("xfs")
    image = Image(chaos, "bare-disk", "xfs", GIB)
    roles = Roles(chaos, "bare", loopback(), nodes=6,
                  directories={number: image.at / str(number) for number in range(6)})
    roles.start()
    client, = roles.clients(timeout=ANSWER_SECONDS)
    objects = Objects(client)
    told = fill_and_recover(client, objects, Filler(image.at), "coded put")
    roles.stop()
    image.unmount()
    return told


def a_full_disk_of_the_gateway_is_told_and_passes(chaos):
    directory, image = small_folder(chaos, "metadata", "ext4", 128 * MIB, "gateway")
    network = Up(chaos, "metadata", directory=directory)
    network.start()
    client = network.client(timeout=ANSWER_SECONDS)
    objects = Objects(client)
    told = fill_and_recover(client, objects, Filler(image.at), "inline put")
    network.stop()
    image.unmount()
    return told


def a_full_disk_of_everything_is_told_and_passes(chaos):
    """The whole of `up` on one disk, the ledger too: all of it reads on, and comes back."""
    need_disks("ext4")
    image = Image(chaos, "whole-disk", "ext4", 3 * GIB)
    network = Up(chaos, "whole", directory=image.at / "data")
    network.start()
    client = network.client(timeout=ANSWER_SECONDS)
    objects = Objects(client)
    told = fill_and_recover(client, objects, Filler(image.at), "inline put")
    assert network.process.poll() is None, "it ended"
    network.stop()
    image.unmount()
    return told


def few_file_descriptors_are_borne(chaos):
    """More idle connections than descriptors; then they go, and all is well."""
    need_root("prlimit")
    network = Up(chaos, "files", prefix=("prlimit", f"--nofile={FILES}:{FILES}", "--"))
    network.start()
    client = network.client(timeout=ANSWER_SECONDS)
    objects = Objects(client)
    judge = Judge()
    with closing(Idle(client.at, IDLE_CONNECTIONS)) as idle:
        end = time.monotonic() + PRESSED_SECONDS
        while time.monotonic() < end:
            idle.renew()
            for what, send in writes(client, 0).items():
                judge.send(what, send)
    told = await_recovery(client, objects)
    assert network.stop() == 0
    judge.assert_right()
    return f"{judge} under {FILES} descriptors; {told}"


def put_long(client, size):
    """One upload of this size, from a block that is made once."""
    block = random.Random(size).randbytes(4 * MIB)
    for _ in range(60):
        raw = client.request_bytes("PUT", f"/{BUCKET}/long", length=size)
        connection = client.connect()
        connection.settimeout(120)
        try:
            connection.sendall(raw)
            for _ in range(size // len(block)):
                connection.sendall(block)
        except OSError:
            pass  # It was refused early; the answer says why.
        try:
            answer, _ = read_answer(connection, "PUT", b"")
        except Unanswered:
            # A refusal that was lost with the connection, as bodies can cost it.
            answer = None
        finally:
            connection.close()
        if answer is not None:
            assert wrong_with(answer) is None, wrong_with(answer)
            if answer.is_ok:
                return
        time.sleep(1)
    raise AssertionError("the long upload was refused for a minute")


def open_uploads(client, judge, count):
    """Multipart uploads that stay open, each with a part."""
    for number in range(count):
        key = f"open/{number}"
        begun, upload = client.begin_upload(BUCKET, key)
        if judge.send("begun upload", lambda: begun):
            judge.send("part", lambda: client.put_part(BUCKET, key, upload, 1, bytes(64 * KIB)))


def memory_stays_flat_under_slow_clients(chaos):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    options = chaos.options
    size = int(options.gib * GIB) // (4 * MIB) * 4 * MIB
    limit = MemoryLimit(chaos, MEMORY)
    network = Up(chaos, "memory", prefix=limit.prefix)
    network.start()
    client = network.client(timeout=ANSWER_SECONDS)
    objects = Objects(client)
    slow = SlowClients(Client(network.endpoint, timeout=ANSWER_SECONDS), BUCKET, options.slow)
    judge = Judge()
    try:
        wait_until(60, "slow clients", lambda: len(slow.connections) >= options.slow * 0.8)
        open_uploads(client, judge, UPLOADS)
        memory = Memory(network.process)
        try:
            put_long(client, size)
        finally:
            memory.stop()
        assert network.process.poll() is None, "the kernel ended it for want of memory"
    finally:
        slow.stop()
    await_recovery(client, objects)
    judge.assert_right()
    peak, growth = network.peak_memory(), memory.growth()
    assert network.stop() == 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not slow.wrong, f"slow clients were told {dict(slow.wrong)}"
    assert growth < FLAT, f"{growth >> 20} MiB more late in the upload than early"
    return (f"{peak >> 20} MiB at most, {growth >> 20} MiB of growth in {options.gib} GiB, "
            f"{slow.begun} slow clients ({slow.refused} refused); {judge}")


CHECKS = [
    a_full_disk_of_the_nodes_is_told_and_passes,
    nodes_without_a_single_byte_left_lose_nothing,
    a_full_disk_of_the_gateway_is_told_and_passes,
    a_full_disk_of_everything_is_told_and_passes,
    few_file_descriptors_are_borne,
    memory_stays_flat_under_slow_clients,
]

if __name__ == "__main__":
    sys.exit(base.main(sys.modules[__name__]))
