#!/usr/bin/env python3
"""R6: real processes on real lines, killed, frozen, cut off from each other and short of disk.

    network.py --binary target/release/stratos [--minutes 4.5] [--nodes 8] [--seed N]

Gateways, nodes and ledger are processes in network namespaces. While writers and readers go
on, lanes of faults break a bounded part of them. In the end everything runs again, and every
object that was acknowledged is read, every listing compared.
"""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import base  # noqa: E402
from acklog import AckLog  # noqa: E402
from base import Planned, command  # noqa: E402
from cluster import Roles  # noqa: E402
from disks import Filler  # noqa: E402
from faults import Faults, Targets  # noqa: E402
from load import PLAIN, VERSIONED, Load, Sizes, check_everything  # noqa: E402
from netns import Lines  # noqa: E402
from smoke_harness import KIB  # noqa: E402

# What a run of CI_MINUTES injects at least; longer runs do more in proportion.
CI_MINUTES = 4.5
OBJECTS = 5000
# Many of them wait at any time, for nodes that are frozen or cut off.
WORKERS = 40
# A client that waits longer than most faults last learns more outcomes.
CLIENT_SECONDS = 10
SMALL_DISK = "600m"


def add_options(parser):
    parser.add_argument("--minutes", type=float, default=CI_MINUTES, help="of faults")
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--gateways", type=int, default=1,
                        help="more than one once gateways can share metadata")


def small_disk(chaos, name):
    """A disk of its own for a node, small enough to be filled."""
    at = chaos.folder(name)
    command("mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", at)
    chaos.at_end.callback(command, "umount", "-l", at, check=False)
    return at


def plan(faults, chaos, roles, small):
    """The lanes. Two of nodes: as many as the parity bears."""
    scale = chaos.options.minutes / CI_MINUTES
    seconds = chaos.options.minutes * 60

    def add(lane, targets, **kinds):
        kinds = {kind: max(1, round(count * scale)) for kind, count in kinds.items()}
        faults.add(chaos.random(lane), targets, seconds, **kinds)

    can_trace = shutil.which("strace") is not None
    traced = {"fsync_error": 2} if can_trace else {}
    if not can_trace:
        print("strace is not installed: no fsync errors in this run", flush=True)
    add("gateways", Targets(roles.gateways), kill=36, freeze=3, partition=2, one_way_partition=2,
        loss=3, **traced)
    nodes = Targets([node for node in roles.nodes if node.name != small])
    for lane in ("nodes a", "nodes b"):
        add(lane, nodes, kill=30, freeze=5, partition=5, one_way_partition=5, loss=4, **traced)
    add("ledger", Targets([roles.ledger]), kill=10, freeze=2, partition=2, one_way_partition=2)
    full = Targets([node for node in roles.nodes if node.name == small])
    add("disk", full, disk_full=8)


def faults_of_processes_and_lines_lose_nothing(chaos):
    lines = Lines(chaos)
    options = chaos.options
    small, disk = f"node-{options.nodes - 1}", small_disk(chaos, "small")
    roles = Roles(chaos, "network", lines.machine, gateways=options.gateways, nodes=options.nodes,
                  directories={options.nodes - 1: disk / "node"})
    roles.start()
    clients = roles.clients(timeout=CLIENT_SECONDS)
    clients[0].create_bucket(PLAIN)
    clients[0].create_bucket(VERSIONED, versioned=True)
    log = AckLog(chaos.scratch / "network.acks")
    planned = Planned()
    faults = Faults(lines, planned, list(lines.machines), {small: Filler(disk)})
    plan(faults, chaos, roles, small)
    load = Load(clients, log, options.seed, WORKERS, Sizes(medium=100 * KIB, parts_share=0.005))
    try:
        faults.run(load.check)
    finally:
        load.stop()
    planned.assert_all()
    roles.await_nodes()
    told = check_everything(clients[0], log.path)
    acked = log.model.acked
    wanted = OBJECTS * options.minutes / CI_MINUTES
    assert acked >= wanted, f"only {acked} acknowledged of {wanted:.0f}"
    return f"{planned}; {told}; {load.told()}"


CHECKS = [faults_of_processes_and_lines_lose_nothing]

if __name__ == "__main__":
    sys.exit(base.main(sys.modules[__name__]))
