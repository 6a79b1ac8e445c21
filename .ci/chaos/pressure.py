"""What presses on a server: connections that say nothing, uploads that never get far. And a look
at how much memory it holds meanwhile.
"""

import resource
import socket
import threading
from collections import Counter
from pathlib import Path

from client import NotSent
from smoke_harness import MIB


class Idle:
    """Connections that say nothing; those that the server ended are opened again."""

    def __init__(self, at, count):
        host, port = at.rsplit(":", 1)
        self.at, self.count, self.open = (host, int(port)), count, []
        self.renew()

    def renew(self):
        self.open = [connection for connection in self.open if not is_over(connection)]
        while len(self.open) < self.count:
            try:
                connection = socket.create_connection(self.at, 1)
            except OSError:
                return  # Even the queue of those that wait is full.
            connection.setblocking(False)
            self.open.append(connection)

    def close(self):
        for connection in self.open:
            connection.close()


def is_over(connection):
    try:
        gone = connection.recv(4096) == b""
    except BlockingIOError:
        return False
    except OSError:
        gone = True
    if gone:
        connection.close()
    return gone


class SlowClients:
    """Uploads that never get far: a byte now and then. Those that are ended begin again."""

    def __init__(self, client, bucket, count):
        self.client, self.bucket, self.count = client, bucket, count
        self.connections = []
        self.begun = self.refused = 0
        self.stopping = threading.Event()
        self.wrong = Counter()
        self.thread = threading.Thread(target=self.drip)
        self.thread.start()

    def begin(self):
        raw = self.client.request_bytes("PUT", f"/{self.bucket}/slow/{self.begun}", length=MIB)
        connection = self.client.connect()
        connection.sendall(raw)
        connection.setblocking(False)
        self.connections.append(connection)
        self.begun += 1

    def drip(self):
        while not self.stopping.is_set():
            self.connections = [one for one in self.connections if self.still_goes(one)]
            try:
                while len(self.connections) < self.count and not self.stopping.is_set():
                    self.begin()
            except (NotSent, OSError):
                self.wrong["not sent"] += 1
            self.stopping.wait(0.5)
        for connection in self.connections:
            connection.close()

    def still_goes(self, connection):
        """Sends a byte; reads what the server said, if it said something."""
        try:
            said = connection.recv(4096)
        except BlockingIOError:
            said = None
        except OSError:
            said = b""
        if said is None:
            try:
                connection.send(b"x")
                return True
            except OSError:
                said = b""
        connection.close()
        if said:
            self.refused += 1
            status = said.split(b" ", 2)[1].decode()
            if status.startswith("5") and status != "503":
                self.wrong[status] += 1
        return False

    def stop(self):
        self.stopping.set()
        self.thread.join()


class Memory:
    """Looks at how much a process holds until it is stopped."""

    def __init__(self, process):
        self.pid, self.samples = process.pid, []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        page = resource.getpagesize()
        while not self.stopping.wait(0.05):
            fields = Path(f"/proc/{self.pid}/statm").read_text().split()
            self.samples.append(int(fields[1]) * page)

    def stop(self):
        self.stopping.set()
        self.thread.join()

    def growth(self):
        """How much more it held at most in the second half than in the first."""
        half = len(self.samples) // 2
        return max(self.samples[half:]) - max(self.samples[:half])
