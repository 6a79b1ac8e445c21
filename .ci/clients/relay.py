"""A relay in front of the gateway that keeps what passes, to show what was refused.

The Host that a client signs is then the relay's, as behind any proxy. It is a process
of its own, since some clients keep Python's lock while they wait for an answer.
"""

import re
import socket
import subprocess
import sys
import threading
from urllib.parse import urlsplit

KEPT = 4096


class Relay:
    """The process, as the one who started it sees it."""

    def __init__(self, url):
        self.process = subprocess.Popen([sys.executable, __file__, url], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.url = self.process.stdout.readline().strip()

    def close(self):
        """Ends it; returns what was refused."""
        refused, _ = self.process.communicate()
        return refused


class Listener:
    """Listens on a port of its own until it is closed."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.target = (parts.hostname, parts.port or 80)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.talks = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            talk = []
            self.talks.append(talk)
            for side, source, sink in ((">", client, server), ("<", server, client)):
                threading.Thread(target=self.pump, args=(side, source, sink, talk),
                                 daemon=True).start()

    @staticmethod
    def pump(side, source, sink, talk):
        try:
            while data := source.recv(65536):
                talk.append((side, data[:KEPT]))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def refusals(self, most=6):
        """The last requests that were answered by 4xx or 5xx, with the answers."""
        shown = []
        for talk in self.talks:
            head = b""
            for side, data in talk:
                if side == ">" and re.match(rb"[A-Z]+ \S+ HTTP/1", data):
                    head = data
                if side == "<" and re.match(rb"HTTP/1.1 [45]", data):
                    shown.append(f"--> {text(head, 1500)}\n<-- {text(data, 1500)}")
        return "\n".join(shown[-most:])


def text(data, most):
    head, _, body = data.partition(b"\r\n\r\n")
    body = body[:most].decode(errors="replace") if body.isascii() else f"({len(body)} bytes)"
    return f"{head.decode(errors='replace')}\n\n{body}"


def main():
    listener = Listener(sys.argv[1])
    print(listener.url, flush=True)
    sys.stdin.read()
    print(listener.refusals())


if __name__ == "__main__":
    main()
