#!/usr/bin/env python3
"""R12: nodes lose everything they held, drain, and join, while objects are written and read.

    heal.py --binary target/release/stratos [--heal-gib 1] [--scheme 4+2] [--timing] [--seed N]

As many nodes as the parity bears are wiped at once. A census, which asks the nodes and trusts
no counter, must find every shard again within five minutes. Then one node drains and its
folder goes, and one joins and is given shards. How much slower requests were during the
repair is reported; with --timing it also decides.
"""

import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent))

import base  # noqa: E402
from acklog import AckLog  # noqa: E402
from base import Planned  # noqa: E402
from cluster import Roles, loopback  # noqa: E402
from load import PLAIN, VERSIONED, Load, Sizes, check_everything  # noqa: E402
from smoke_harness import GIB, KIB, MIB, wait_until  # noqa: E402

# The figure that the project promises, and so what is waited for at most.
HEAL_SECONDS = 300
NODES = 12
OBJECT = 4 * MIB
WORKERS = 4
# Of requests before the nodes are wiped.
BEFORE_SECONDS = 20
SLOWER = 2.0


def add_options(parser):
    parser.add_argument("--heal-gib", type=float, default=1, help="what is stored before")
    parser.add_argument("--scheme", default="4+2")
    parser.add_argument("--timing", action="store_true",
                        help=f"fail when requests are more than {SLOWER} times as slow")


def store(roles, log, seed, size):
    """Fills the network with objects of OBJECT bytes."""
    client, = roles.clients()

    def put(number):
        key, body = f"base/{number}", Random(f"{seed}/base/{number}").randbytes(OBJECT)
        seq = log.intent(PLAIN, key, body)
        answer = client.put(PLAIN, key, body)
        assert answer.is_ok, answer
        log.outcome(seq, answer)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(int(size) // OBJECT)))


def census(roles, *options):
    # It ends with 1 when it misses too many shards of a segment, and prints the same.
    return roles.ask("admin", "census", *options, expect=None)


def is_whole(counted):
    return counted["segments"] and counted["degraded"] == counted["lost"] == 0


def await_whole(roles, what):
    """Waits for a census that misses nothing; returns it. While objects are written and shards
    move, one may see less than there is, so a single one that misses some decides nothing:
    in the end every object is read."""
    last = {}

    def look():
        last.update(census(roles))
        return is_whole(last)

    try:
        wait_until(HEAL_SECONDS, f"whole census {what}", look, every=2)
    except AssertionError as error:
        raise AssertionError(f"{error}; the last one: {last}") from error
    return last


def wipe(node):
    """Its key stays, so it is the same node; what it held is gone."""
    node.kill()
    for path in node.dir.iterdir():
        if path.name != "node.key":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    node.start()


def p99(latencies, begin, end):
    """Of the requests that began in this time."""
    found = sorted(seconds for at, seconds in latencies if begin <= at < end)
    assert len(found) >= 100, f"only {len(found)} requests to measure"
    return found[len(found) * 99 // 100]


def wipe_and_heal(chaos, roles, load, planned):
    parity = int(chaos.options.scheme.split("+")[1])
    before = time.monotonic()
    load.stopping.wait(BEFORE_SECONDS)
    began = time.monotonic()
    for node in chaos.random("wiped").sample(roles.nodes, parity):
        wipe(node)
        planned.count("wiped")
    roles.await_nodes()
    noticed = census(roles)
    counted = await_whole(roles, "after the wipe")
    healed = time.monotonic()
    was, is_now = p99(load.latencies, before, began), p99(load.latencies, began, healed)
    told = (f"{counted['segments']} segments whole {healed - began:.0f} s after {parity} wipes "
            f"({noticed['degraded']} degraded at first), "
            f"p99 {was * 1000:.0f} ms before, {is_now * 1000:.0f} ms meanwhile")
    if chaos.options.timing:
        assert is_now <= SLOWER * was, told
    return told


def drain(roles, planned):
    """A node is emptied in good order; then it may go for ever."""
    node = roles.nodes[-1]
    id = node.id()
    begin = time.monotonic()
    status = roles.ask("node", "drain", id, "--wait", seconds=HEAL_SECONDS)
    assert status["state"] == "left", status
    node.kill()
    shutil.rmtree(node.dir)
    roles.nodes.remove(node)
    planned.count("drained")
    counted = await_whole(roles, "after the drain")
    return f"drained in {time.monotonic() - begin:.0f} s, {counted['segments']} segments whole"


def join(roles, planned):
    """A new node is given shards: new ones first, and old ones once it is trusted."""
    _, id = roles.add_node()

    def holds_shards():
        found = [one for one in roles.ask("node", "list")["nodes"] if one["node"] == id]
        return found and found[0]["shards"] > 0

    begin = time.monotonic()
    wait_until(HEAL_SECONDS, "shard on the new node", holds_shards, every=1,
               log=roles.gateways[0].log)
    planned.count("joined")
    await_whole(roles, "after the join")
    return f"the new node had shards after {time.monotonic() - begin:.0f} s"


def wiped_drained_and_joining_nodes_lose_nothing(chaos):
    options = chaos.options
    data, parity = map(int, options.scheme.split("+"))
    # One to drain, even where every node holds a shard of every segment.
    count = max(NODES, data + parity + 1)
    roles = Roles(chaos, "heal", loopback(), nodes=count, scheme=options.scheme,
                  # Fewer would bear fewer losses before the first repair than are wiped here.
                  quorum=data + parity)
    roles.start()
    client, = roles.clients()
    client.create_bucket(PLAIN)
    client.create_bucket(VERSIONED, versioned=True)
    log = AckLog(chaos.scratch / "heal.acks")
    store(roles, log, options.seed, options.heal_gib * GIB)
    planned = Planned(wiped=parity, drained=1, joined=1)
    load = Load([client], log, options.seed, WORKERS, Sizes(medium=100 * KIB, parts_share=0))
    try:
        told = [wipe_and_heal(chaos, roles, load, planned), drain(roles, planned),
                join(roles, planned)]
    finally:
        load.stop()
    told.append(check_everything(client, log.path))
    counted = census(roles, "--read")
    assert is_whole(counted), f"not every shard reads: {counted}"
    planned.assert_all()
    return "; ".join(told)


CHECKS = [wiped_drained_and_joining_nodes_lose_nothing]

if __name__ == "__main__":
    sys.exit(base.main(sys.modules[__name__]))
