"""Crashes, lost nodes, spoilt shards, full disks, memory. Each check has a network of its own."""

import hashlib
import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import BotoCoreError, ClientError

from smoke_harness import (
    GIB, MIB, Network, Skip, assert_all_read, content, digest, make_objects, wait_until,
)

WRITERS = 200
ROUNDS = 2
MEMORY_LIMIT = 512 * MIB
# Inline and coded ones, of less than a stripe, of many stripes, of two segments.
SIZES = [0, 10, 4096, 4097, *(20_000 + 3331 * n for n in range(20)), MIB, 5 * MIB + 1, 70 * MIB]


def in_parallel(work, items, width=16):
    with ThreadPoolExecutor(width) as pool:
        return list(pool.map(work, items))


class Writers:
    """Threads that put objects, one after the other, until the server is gone."""

    def __init__(self, network, name):
        self.client = network.s3(max_pool_connections=WRITERS)
        self.name = name
        self.acknowledged = []
        self.unanswered = []
        self.threads = [threading.Thread(target=self.write, args=(n,)) for n in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def write(self, number):
        for turn in range(10_000):
            key = f"{self.name}/{number}/{turn}"
            try:
                self.client.put_object(Bucket="crash", Key=key, Body=crash_content(key))
            except (BotoCoreError, ClientError):
                self.unanswered.append(key)
                return
            self.acknowledged.append(key)

    def join(self):
        for thread in self.threads:
            thread.join()


def crash_content(key):
    # Every third object lives inline, the others on nodes.
    turn = int(key.rsplit("/", 1)[1])
    return content(key, 1000 if turn % 3 == 0 else 30_000)


def kill_9_during_200_uploads_loses_nothing_acknowledged(context):
    network = Network(context, "crash")
    network.start()
    network.s3().create_bucket(Bucket="crash")
    acknowledged, cut = [], 0
    for turn in range(ROUNDS):
        writers = Writers(network, f"round {turn}")
        try:
            wait_until(60, "2 x 200 acknowledged uploads",
                       lambda: len(writers.acknowledged) >= 2 * WRITERS, log=network.log)
        finally:
            network.kill()
            writers.join()
        assert len(writers.unanswered) == WRITERS, "the kill came after the uploads"
        acknowledged += writers.acknowledged
        network.start()
        s3 = network.s3(max_pool_connections=16)

        def whole(key):
            data = s3.get_object(Bucket="crash", Key=key)["Body"].read()
            assert data == crash_content(key), f"other bytes in {key}"

        def whole_or_absent(key):
            try:
                whole(key)
            except ClientError as error:
                assert error.response["Error"]["Code"] == "NoSuchKey", error

        in_parallel(whole, acknowledged)
        in_parallel(whole_or_absent, writers.unanswered)
        cut += len(writers.unanswered)
    assert network.stop() == 0
    return f"{len(acknowledged)} acknowledged and {cut} cut off in {ROUNDS} rounds, none lost"


def two_of_six_node_folders_removed_everything_still_reads(context):
    network = Network(context, "removed")
    network.start()
    s3 = network.s3()
    made = make_objects(s3, "removed", SIZES)
    for node in (1, 2):
        assert list((network.dir / "nodes" / str(node)).rglob("*")), "nothing to remove"
        folder = network.dir / "nodes" / str(node)
        # Its node makes files there meanwhile.
        while folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
    count = assert_all_read(s3, "removed", made)
    got = s3.get_object(Bucket="removed", Key="object 026", Range="bytes=67108800-67108900")
    wanted = content("object 026", 70 * MIB)[67108800:67108901]
    assert got["Body"].read() == wanted
    network.kill()
    return f"{count} objects"


def volumes(network, node):
    return sorted((network.dir / "nodes" / str(node) / "volumes").glob("*.vol"))


def shard_records(network, node):
    """Path, place and size (header and body) of each shard on disk: docs/formats.md, record."""
    found = []
    for path in volumes(network, node):
        data = path.read_bytes()
        for place in range(0, len(data), 512):
            if data[place:place + 7] == b"SREC\x01\0\x01":
                found.append((path, place, 192 + int.from_bytes(data[place + 24:place + 32], "little")))
    return found


def flip(path, place):
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 0x40]))


def a_flipped_byte_in_any_shard_is_never_served(context):
    network = Network(context, "flipped")
    network.start()
    s3 = network.s3()
    made = make_objects(s3, "flipped", SIZES)
    spoilt = 0
    # One node, then a second one: 4+2 bears two.
    for node in (3, 5):
        records = shard_records(network, node)
        assert len(records) >= 20, f"node {node} has {len(records)} shards"
        for number, (path, place, size) in enumerate(records):
            # At the start, at the end, and at places between.
            flip(path, place + [0, size - 1, size // 2, size // 3][number % 4])
        spoilt += len(records)
        assert_all_read(s3, "flipped", made)
    assert network.stop() == 0
    return f"{spoilt} shards"


def too_many_lost_nodes_give_an_error_and_no_wrong_byte(context):
    network = Network(context, "lost")
    network.start()
    s3 = network.s3()
    made = make_objects(s3, "lost", [50_000, 3 * MIB])
    for node in (1, 2, 3):
        # Cut off in place: a node reads on in a file that is only removed.
        for path in volumes(network, node):
            os.truncate(path, 0)
    for key in made:
        try:
            data = s3.get_object(Bucket="lost", Key=key)["Body"].read()
        except (BotoCoreError, ClientError):
            continue
        raise AssertionError(f"{len(data)} bytes of {key} came from too few shards")
    # What needs no node is still there.
    s3.put_object(Bucket="lost", Key="inline", Body=b"small")
    assert s3.get_object(Bucket="lost", Key="inline")["Body"].read() == b"small"
    network.kill()


def memory_stays_under_512_mib_during_8_large_uploads(context):
    full = os.environ.get("STRATOS_SMOKE_FULL") == "1"
    size = GIB if full else 64 * MIB
    free = shutil.disk_usage(context.scratch).free
    if free < 16 * size:
        raise Skip(f"needs {16 * size >> 30} GiB of disk, {free >> 30} GiB are free")
    source = context.folder("large") / "source"
    hashed = write_large(source, size)
    network = Network(context, "memory")
    network.start()
    # As clients are set by default: they try again when told to slow down.
    s3 = network.s3(retries={"mode": "standard"}, read_timeout=600)
    s3.create_bucket(Bucket="memory")

    def upload(number):
        with open(source, "rb") as file:
            s3.put_object(Bucket="memory", Key=f"large {number}", Body=file)

    in_parallel(upload, range(8), width=8)
    uploads = network.peak_memory()
    in_parallel(lambda n: assert_large(s3, f"large {n}", hashed), range(8), width=8)
    peak = network.peak_memory()
    assert network.stop() == 0
    shutil.rmtree(network.dir)
    source.unlink()
    assert peak < MEMORY_LIMIT, f"{peak >> 20} MiB ({uploads >> 20} MiB after the uploads)"
    return f"8 x {size >> 20} MiB, {uploads >> 20} MiB uploading, {peak >> 20} MiB in all"


def write_large(path, size):
    """A file of 64 MiB blocks, and its hash."""
    block = content("large", 64 * MIB)
    with open(path, "wb") as file:
        for number in range(size // len(block)):
            file.write(number.to_bytes(8, "big") + block[8:])
    return file_hash(path)


def file_hash(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def assert_large(s3, key, wanted):
    hashed = hashlib.sha256()
    for chunk in s3.get_object(Bucket="memory", Key=key)["Body"].iter_chunks(MIB):
        hashed.update(chunk)
    assert hashed.hexdigest() == wanted, f"other bytes in {key}"


def a_full_disk_is_told_and_loses_nothing(context):
    disk = context.folder("full-disk")
    # Larger than the 1 GiB that a node never touches, by little.
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1400m", "tmpfs", disk],
                             capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        raise Skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    network = Network(context, "full-disk/data")
    try:
        fill_and_read(network)
    finally:
        if network.process and network.process.poll() is None:
            network.kill()
        subprocess.run(["umount", disk], check=True)


def fill_and_read(network):
    network.start()
    s3 = network.s3()
    s3.create_bucket(Bucket="full")
    made = {}
    for number in range(200):
        key, data = f"k{number}", content(f"k{number}", 8 * MIB)
        try:
            s3.put_object(Bucket="full", Key=key, Body=data)
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            assert status in (503, 507), error
            refused = key
            break
        made[key] = digest(data)
    else:
        raise AssertionError("the disk never filled")
    assert made, "the first object was refused already"
    assert_all_read(s3, "full", made)
    listed = [found["Key"] for found in s3.list_objects_v2(Bucket="full")["Contents"]]
    assert sorted(listed) == sorted(made) and refused not in listed
    s3.delete_object(Bucket="full", Key="k0")
    assert network.stop() == 0
    del made["k0"]
    network.start()
    assert_all_read(network.s3(), "full", made)
    assert network.stop() == 0


CHECKS = [
    kill_9_during_200_uploads_loses_nothing_acknowledged,
    two_of_six_node_folders_removed_everything_still_reads,
    a_flipped_byte_in_any_shard_is_never_served,
    too_many_lost_nodes_give_an_error_and_no_wrong_byte,
    memory_stays_under_512_mib_during_8_large_uploads,
    a_full_disk_is_told_and_loses_nothing,
]
