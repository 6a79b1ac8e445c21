"""Machines that are network namespaces on one bridge, and faults of the lines between them."""

import os

from base import command, need_root
from cluster import Machine
from smoke_harness import Skip


class Lines:
    """A private subnet. Names hold the process id, so that runs beside each other do not meet."""

    def __init__(self, chaos):
        need_root("ip", "iptables", "nsenter")
        self.pid = os.getpid()
        self.bridge = f"br{self.pid}"
        self.subnet = self.free_subnet()
        self.machines = {}
        chaos.at_end.callback(self.remove)
        try:
            command("ip", "link", "add", self.bridge, "type", "bridge")
            command("ip", "addr", "add", f"{self.subnet}.1/24", "dev", self.bridge)
            command("ip", "link", "set", self.bridge, "up")
            self.machine("probe")
            self.iptables("probe", "-A", "INPUT", "-m", "statistic", "--mode", "random",
                          "--probability", "0.1", "-j", "DROP")
        except AssertionError as error:
            raise Skip(f"no network namespaces here: {error}") from error

    def free_subnet(self):
        taken = command("ip", "-o", "addr").stdout + command("ip", "route").stdout
        for step in range(1000):
            number = self.pid + step
            subnet = f"10.{200 + number // 250 % 50}.{number % 250}"
            if f"{subnet}." not in taken:
                return subnet
        raise Skip("no free subnet")

    def namespace(self, name):
        return f"chaos{self.pid}-{name}"

    def machine(self, name):
        """A machine of this name; the same one when asked again."""
        if name not in self.machines:
            number = len(self.machines) + 2
            space, outer = self.namespace(name), f"v{self.pid}x{number}"
            command("ip", "netns", "add", space)
            self.machines[name] = Machine(f"{self.subnet}.{number}", self.enter(name))
            command("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0",
                    "netns", space)
            command("ip", "link", "set", outer, "master", self.bridge, "up")
            self.inside(name, "ip", "addr", "add", f"{self.subnet}.{number}/24", "dev", "eth0")
            for device in ("eth0", "lo"):
                self.inside(name, "ip", "link", "set", device, "up")
        return self.machines[name]

    def enter(self, name):
        """Not by `ip netns exec`: its processes keep a copy of every mount of this machine, and
        so alive what another test unmounts."""
        return ("nsenter", f"--net=/var/run/netns/{self.namespace(name)}", "--")

    def inside(self, name, *parts):
        return command(*self.enter(name), *parts)

    def iptables(self, name, *rule):
        self.inside(name, "iptables", "-w", *rule)

    def cut(self, name, peer, inward=True, outward=True):
        """Drops what comes from `peer`, what goes to it, or both; None is everybody."""
        source = ("-s", self.machines[peer].address) if peer else ()
        target = ("-d", self.machines[peer].address) if peer else ()
        if inward:
            self.iptables(name, "-A", "INPUT", *source, "-j", "DROP")
        if outward:
            self.iptables(name, "-A", "OUTPUT", *target, "-j", "DROP")

    def lose(self, name, share):
        """Loses this share of the packets in each direction."""
        for chain in ("INPUT", "OUTPUT"):
            self.iptables(name, "-A", chain, "-m", "statistic", "--mode", "random",
                          "--probability", f"{share:.3f}", "-j", "DROP")

    def mend(self, name):
        for chain in ("INPUT", "OUTPUT"):
            self.iptables(name, "-F", chain)

    def remove(self):
        for name in self.machines:
            # Its end of the pair goes with the namespace.
            command("ip", "netns", "delete", self.namespace(name), check=False)
        command("ip", "link", "delete", self.bridge, check=False)
