"""Networks under test: `up` in one process, and the roles as processes of their own."""

import json
import os
import signal
import subprocess
import time

from client import Client
from smoke_harness import Network, http_status, tail, wait_until
from smoke_roles import Role

READY_SECONDS = 120


class Up(Network):
    """`stratos up` that may run with another environment or under other limits."""

    def __init__(self, chaos, name, *options, directory=None, env=None, prefix=()):
        super().__init__(chaos, name, *options)
        if directory:
            self.dir = directory
        self.more_env = env or {}
        self.prefix = [str(part) for part in prefix]

    def start(self, listen="127.0.0.1:0"):
        (self.dir / "endpoint.json").unlink(missing_ok=True)
        begin = time.monotonic()
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                [*self.prefix, self.context.binary, "up", str(self.dir), "--listen", listen,
                 *self.options],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env={**self.context.env, **self.more_env})
        self.context.started.append(self.process)
        file = self.dir / "endpoint.json"

        def written():
            if self.process.poll() is not None:
                raise AssertionError(f"up ended with {self.process.returncode}: {tail(self.log)}")
            return file.exists()

        wait_until(READY_SECONDS, "endpoint.json", written, every=0.01, log=self.log)
        self.endpoint = json.loads(file.read_text())
        return time.monotonic() - begin

    def client(self, **options):
        return Client(self.endpoint, **options)


class Machine:
    """Where a role runs: its address, and what its commands begin with."""

    def __init__(self, address, prefix=()):
        self.address, self.prefix = address, [str(part) for part in prefix]


class Process(Role):
    """A role on a machine; it can be killed, frozen and started again."""

    def __init__(self, chaos, folder, role, name, machine, settings="", flags=(), directory=None):
        self.machine, self.name = machine, name
        self.wanted_dir = directory
        super().__init__(chaos, folder, role, name, settings, flags)

    def write(self, settings):
        if self.wanted_dir:
            self.dir = self.wanted_dir
        super().write(settings)

    def start(self):
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                [*self.machine.prefix, self.context.binary, self.role, "-c", str(self.file),
                 *map(str, self.flags)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.context.env)
        self.context.started.append(self.process)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def assert_alive(self):
        """It runs, or the harness is to blame that it does not."""
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}{tail(self.log)}")


class Roles:
    """One ledger, some gateways, some nodes. Only the first gateway's machine is needed to
    reach the network; several gateways are a list for when they can share metadata."""

    S3, ADMIN, LEDGER, NODE, METRICS = 9000, 9001, 4400, 4433, 9102

    def __init__(self, chaos, name, machines, gateways=1, nodes=8, scheme="4+2", quorum=5,
                 directories=None, reserve=0):
        self.chaos, self.folder = chaos, chaos.folder(name)
        self.ledger = Process(chaos, self.folder, "ledger", "ledger", machines("ledger"))
        ledger_at = f"{self.ledger.machine.address}:{self.LEDGER}"
        self.known = f'[ledger]\nid = "{self.ledger.id()}"\naddr = "{ledger_at}"'
        self.gateways = [self.gateway(machines, n, scheme, quorum) for n in range(gateways)]
        ids = ", ".join(f'"{gateway.id()}"' for gateway in self.gateways)
        self.ledger.write(
            f'listen = "{ledger_at}"\ngateways = [{ids}]\nepoch_seconds = 5\n'
            'opening_balance_credits = 1000000')
        self.machines, self.reserve = machines, reserve
        self.node_dirs = directories or {}
        self.made = 0
        self.nodes = [self.node(n) for n in range(nodes)]
        self.endpoint = None

    def gateway(self, machines, number, scheme, quorum):
        machine = machines(f"gateway-{number}")
        settings = (f'listen = "{machine.address}:{self.S3}"\n'
                    f'admin_listen = "{machine.address}:{self.ADMIN}"\n'
                    f'scheme = "{scheme}"\nwrite_quorum = {quorum}\n{self.known}')
        return Process(self.chaos, self.folder, "gateway", f"gateway-{number}", machine, settings)

    def node(self, number):
        self.made = max(self.made, number + 1)
        machine = self.machines(f"node-{number}")
        listen = f"{machine.address}:{self.NODE}"
        settings = (f'listen = "{listen}"\nreserve_bytes = {self.reserve}\nzone = "z{number}"\n'
                    f'metrics_listen = "{machine.address}:{self.METRICS}"\n{self.known}')
        flags = ("--advertise", listen, "--invite-file", self.folder / f"invite-node-{number}")
        return Process(self.chaos, self.folder, "node", f"node-{number}", machine, settings,
                       flags, self.node_dirs.get(number))

    def all(self):
        return [self.ledger, *self.gateways, *self.nodes]

    def start(self):
        self.ledger.start()
        for gateway in self.gateways:
            gateway.start()
        file = self.gateways[0].dir / "endpoint.json"
        wait_until(READY_SECONDS, "endpoint.json", file.exists, log=self.gateways[0].log)
        self.endpoint = json.loads(file.read_text())
        for node in self.nodes:
            self.join(node)
        self.await_nodes()

    def join(self, node):
        """Invites a node and starts it."""
        invite = self.ask("node", "invite")["invite"]
        (self.folder / f"invite-{node.name}").write_text(invite + "\n")
        node.start()

    def add_node(self):
        """A node more; returns it and its id, which has to be made before it runs."""
        node = self.node(self.made)
        identity = node.id()
        self.nodes.append(node)
        self.join(node)
        return node, identity

    def ask(self, *command, **options):
        """A command about this network; its JSON."""
        done = self.chaos.stratos(*command, "--data", self.gateways[0].dir, "--json", **options)
        return json.loads(done.stdout)

    def states(self):
        return [node["state"] for node in self.ask("node", "list")["nodes"]]

    def await_nodes(self, count=None):
        """Waits until every gateway is ready and sees this many nodes (all of them)."""
        count = len(self.nodes) if count is None else count
        for gateway in self.gateways:
            wait_until(READY_SECONDS, "ready gateway", log=gateway.log, probe=lambda: http_status(
                f"http://{gateway.machine.address}:{self.ADMIN}/health/ready")[0] == 200)
        wait_until(READY_SECONDS, f"{count} nodes", log=self.gateways[0].log,
                   probe=lambda: self.states().count("up") >= count)

    def clients(self, **options):
        """A client of each gateway."""
        return [Client(self.endpoint, f"{gateway.machine.address}:{self.S3}", **options)
                for gateway in self.gateways]

    def bring_back(self):
        """Starts what does not run."""
        for process in self.all():
            if not process.is_running():
                process.start()

    def stop(self):
        for process in (*self.gateways, *self.nodes, self.ledger):
            if process.is_running():
                process.stop()


def loopback():
    """Machines on 127.0.0.0/8, each with an address of its own, so that ports need not differ."""
    taken = {}
    base = (os.getpid() % 250) + 1

    def machine(name):
        number = taken.setdefault(name, len(taken) + 1)
        return Machine(f"127.{base}.77.{number}")

    return machine
