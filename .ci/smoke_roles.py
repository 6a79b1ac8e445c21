"""Ledger, gateway and six nodes as eight processes, joined as the Helm chart joins them."""

import itertools
import json
import re
import shutil
import socket
import time

from smoke_harness import (
    COMMAND_SECONDS, KIB, MIB, Network, assert_all_read, http_status, make_objects, wait_until,
)

NODES = 6


# Below the ports that the system gives to sockets that ask for any: what is
# free stays free until the process that is told of it starts.
PORTS = itertools.cycle(range(10_000, 20_000))


def free_port(kind):
    for port in itertools.islice(PORTS, 10_000):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


class Role:
    """One role, its file and its process."""

    def __init__(self, context, folder, role, name, settings, flags=()):
        self.context = context
        self.role = role
        self.dir = folder / name
        self.file = folder / f"{name}.toml"
        self.log = folder / f"{name}.log"
        self.flags = flags
        self.process = None
        self.write(settings)

    def write(self, settings):
        self.file.write_text(f'dir = "{self.dir}"\n{settings}\n')

    def id(self):
        """Its public key; made on the first call."""
        printed = self.context.stratos(self.role, "-c", self.file, "--print-id").stdout
        assert re.fullmatch(r"[0-9a-f]{64}\n", printed), printed
        return printed.strip()

    def start(self):
        self.process = self.context.spawn(self.log, self.role, "-c", self.file, *self.flags)

    def stop(self):
        self.process.terminate()
        return self.process.wait(COMMAND_SECONDS)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Gateway(Network):
    """A network that is reached through a gateway of its own process."""

    def __init__(self, role):
        super().__init__(role.context, role.dir)
        self.dir, self.log = role.dir, role.log


class Eight:
    def __init__(self, context, name="roles"):
        self.context = context
        self.folder = context.folder(name)
        self.http = f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
        self.metrics = []
        ledger_addr = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
        # The keys come first: the roles know each other by their public halves.
        self.ledger = Role(context, self.folder, "ledger", "ledger", "")
        known = f'[ledger]\nid = "{self.ledger.id()}"\naddr = "{ledger_addr}"'
        self.gateway = Role(context, self.folder, "gateway", "gateway", (
            f'listen = "{self.http}"\nadmin_listen = "127.0.0.1:0"\n{known}'))
        self.ledger.write(
            f'listen = "{ledger_addr}"\ngateways = ["{self.gateway.id()}"]\nepoch_seconds = 5\n'
            f'opening_balance_credits = 1000\nmetrics_listen = "{self.metrics_port()}"')
        self.nodes = [self.node(number, known) for number in range(NODES)]

    def metrics_port(self):
        self.metrics.append(f"127.0.0.1:{free_port(socket.SOCK_STREAM)}")
        return self.metrics[-1]

    def node(self, number, known):
        listen = f"127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
        settings = f'listen = "{listen}"\nmetrics_listen = "{self.metrics_port()}"\n{known}'
        flags = ("--advertise", listen, "--invite-file", self.folder / f"invite-{number}")
        return Role(self.context, self.folder, "node", f"node-{number}", settings, flags)

    def all(self):
        return [self.ledger, self.gateway, *self.nodes]

    def invite(self, number):
        done = self.context.stratos("node", "invite", "--data", self.gateway.dir, "--json")
        (self.folder / f"invite-{number}").write_text(json.loads(done.stdout)["invite"] + "\n")

    def await_ready(self):
        wait_until(30, "ready gateway", log=self.gateway.log,
                   probe=lambda: http_status(f"http://{self.http}/health/ready")[0] == 200)

    def bring_up(self):
        """Starts all of them, and makes an account; its S3 client."""
        self.ledger.start()
        self.gateway.start()
        file = self.gateway.dir / "endpoint.json"
        wait_until(30, "endpoint.json of the gateway", file.exists, log=self.gateway.log)
        for number, node in enumerate(self.nodes):
            self.invite(number)
            node.start()
        self.await_ready()
        for address in self.metrics:
            for path in ("live", "ready"):
                wait_until(30, f"{path} at {address}",
                           lambda: http_status(f"http://{address}/health/{path}")[0] == 200)
        network = Gateway(self.gateway)
        network.endpoint = json.loads(file.read_text())
        network.endpoint["endpoint"] = f"http://{self.http}"
        network.cli("account", "create", "bob")
        return network.s3(network.cli("key", "create", "--account", "bob"))

    def end(self):
        codes = [role.stop() for role in reversed(self.all())]
        assert codes == [0] * len(codes), codes


def eight_processes_join_serve_and_survive_kills(context):
    eight = Eight(context)
    s3 = eight.bring_up()
    made = make_objects(s3, "roles", [10, 5000, 300 * KIB, 9 * MIB])

    for node in eight.nodes[:2]:
        node.kill()
    assert_all_read(s3, "roles", made)
    for node in (*eight.nodes[:2], eight.ledger, eight.gateway):
        if node.process.poll() is None:
            node.kill()
        node.start()
    eight.await_ready()
    assert_all_read(s3, "roles", made)
    wait_until(30, "accepted upload", lambda: upload(s3), every=0.5, log=eight.gateway.log)
    eight.end()


def a_lost_gateway_of_eight_processes_comes_back(context):
    eight = Eight(context, "lost-gateway")
    s3 = eight.bring_up()
    made = make_objects(s3, "roles", [10, 5000, 300 * KIB, 9 * MIB])
    key = eight.folder / "recovery.key"
    key.write_text(context.stratos("admin", "recovery-key", "--data", eight.gateway.dir).stdout)
    # What was committed last is on the nodes within seconds.
    written = time.time()
    wait_until(60, "metadata on the nodes", lambda: shipped_after(eight, written),
               log=eight.gateway.log)
    eight.gateway.kill()
    shutil.rmtree(eight.gateway.dir)
    done = context.stratos("admin", "recover", "--key", key, "--out", eight.gateway.dir, "--json")
    report = json.loads(done.stdout)
    assert report["nodes_answered"] == NODES and report["logs_beyond_gap"] == 0, report
    eight.gateway.start()
    eight.await_ready()
    assert_all_read(s3, "roles", made)
    wait_until(30, "accepted upload", lambda: upload(s3), every=0.5, log=eight.gateway.log)
    eight.end()


def shipped_after(eight, moment):
    """Whether all that was committed at a moment is on the nodes."""
    admin = json.loads((eight.gateway.dir / "endpoint.json").read_text())["admin_endpoint"]
    status, text = http_status(f"{admin}/metrics")
    name = "stratos_metadata_shipped_timestamp_seconds"
    found = re.search(rf"^{name} ([0-9.e+]+)$", text.decode(), re.M)
    return status == 200 and found is not None and float(found[1]) > moment


def upload(s3):
    """Whether five of six nodes are back."""
    try:
        s3.put_object(Bucket="roles", Key="after", Body=bytes(100_000))
    except s3.exceptions.ClientError:
        return False
    return True


CHECKS = [eight_processes_join_serve_and_survive_kills,
          a_lost_gateway_of_eight_processes_comes_back]
