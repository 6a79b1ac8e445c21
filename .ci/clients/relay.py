"""A relay in front of the gateway that keeps what passes, to show what was refused.

The Host that a client signs is then the relay's, as behind any proxy.
"""

import re
import socket
import threading
from urllib.parse import urlsplit

KEPT = 4096


class Relay:
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

    def close(self):
        self.listener.close()


def text(data, most):
    head, _, body = data.partition(b"\r\n\r\n")
    body = body[:most].decode(errors="replace") if body.isascii() else f"({len(body)} bytes)"
    return f"{head.decode(errors='replace')}\n\n{body}"
