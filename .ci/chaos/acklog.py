"""What was acknowledged, in a file outside the system under test, and what reads may show.

Each line is one JSON record, on disk (fsync) before the harness goes on:

    {"say": "intent", "seq": 7, "bucket": ..., "key": ..., "sha256": ... or null, "size": ...}
    {"say": "ack", "seq": 7, "etag": ..., "version": ...}
    {"say": "refused", "seq": 7}        nothing changed (4xx, or never sent)
    {"say": "unknown", "seq": 7}        5xx or no answer: all of it or none
    {"say": "seen", "bucket": ..., "key": ..., "sha256": ...}   an unknown one that a read showed

A key has one writer. After an unknown outcome it is never written again, since the old
request may still be under way: from then on reads show the old value or the new one, and
never the old one again once they showed the new one.
"""

import hashlib
import json
import os
import threading


def value_of(body):
    """What identifies an object's bytes; None is an absent object."""
    return None if body is None else (hashlib.sha256(body).hexdigest(), len(body))


class Model:
    """What the records add up to."""

    def __init__(self):
        self.possible = {}   # (bucket, key) -> what a read may show, the newest last
        self.versions = {}   # (bucket, key, version) -> value
        self.retired = set()
        self.touched = set()
        self.pending = {}
        self.acked = self.unknown = 0

    @classmethod
    def replay(cls, path):
        model = cls()
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                model.apply(json.loads(line))
        # What has no outcome is not known.
        for seq in list(model.pending):
            model.apply({"say": "unknown", "seq": seq})
        return model

    def apply(self, record):
        say = record["say"]
        if say == "intent":
            self.pending[record["seq"]] = record
            return
        if say == "seen":
            self.possible[record["bucket"], record["key"]] = [tuple_of(record)]
            return
        intent = self.pending.pop(record["seq"])
        at, value = (intent["bucket"], intent["key"]), tuple_of(intent)
        if say == "ack":
            assert at not in self.retired, f"{at} was written after an unknown outcome"
            self.acked += 1
            self.possible[at] = [value]
            if record.get("version") and value:
                self.versions[*at, record["version"]] = value
        elif say == "unknown":
            self.unknown += 1
            self.retired.add(at)
            self.possible[at] = [*self.possible.get(at, [None]), value]
        else:
            self.possible.setdefault(at, [None])
        self.touched.add(at)

    def complaint(self, at, value):
        """Why a read of the key may not show this value; None if it may."""
        wanted = self.possible[at]
        if value in wanted:
            return None
        what = "lost" if value is None else "wrong bytes"
        return f"{what}: {'/'.join(at)} shows {value}, not one of {wanted}"


def tuple_of(record):
    return None if record["sha256"] is None else (record["sha256"], record["size"])


class AckLog:
    """Writes the records, many at once with one fsync, and knows what they add up to."""

    def __init__(self, path):
        self.path = path
        self.file = open(path, "ab")
        self.model = Model()
        self.lock = threading.Lock()
        self.disk = threading.Lock()
        self.lines = []
        self.seq = self.synced = self.written = 0
        # While this is set, an answer counts for nothing: what it says is not known.
        self.is_doubtful = False

    def close(self):
        self.file.close()

    def record(self, **record):
        with self.lock:
            if record["say"] == "intent":
                self.seq += 1
                record["seq"] = self.seq
            self.model.apply(record)
            self.lines.append(json.dumps(record).encode() + b"\n")
            self.written += 1
            mine = self.written
        with self.disk:
            if self.synced < mine:
                with self.lock:
                    lines, self.lines, reached = self.lines, [], self.written
                self.file.write(b"".join(lines))
                self.file.flush()
                os.fsync(self.file.fileno())
                self.synced = reached
        return record.get("seq")

    def intent(self, bucket, key, body):
        """Before a write of `body`; None is a delete."""
        sha256, size = value_of(body) or (None, 0)
        return self.record(say="intent", bucket=bucket, key=key, sha256=sha256, size=size)

    def outcome(self, seq, answer):
        """After the write; `answer` None: nobody knows."""
        if answer is None or answer.status >= 500 or (answer.is_ok and self.is_doubtful):
            self.record(say="unknown", seq=seq)
        elif answer.is_ok:
            self.record(say="ack", seq=seq, etag=answer.etag, version=answer.version)
        else:
            self.record(say="refused", seq=seq)

    def refused(self, seq):
        self.record(say="refused", seq=seq)

    def read(self, at, value):
        """A read of the key showed this; returns a complaint or None."""
        complaint = self.model.complaint(at, value)
        if complaint is None and at in self.model.retired:
            with self.lock:
                wanted = self.model.possible[at]
                is_news = len(wanted) > 1 and value == wanted[-1]
            if is_news:
                sha256, size = value or (None, 0)
                self.record(say="seen", bucket=at[0], key=at[1], sha256=sha256, size=size)
        return complaint

    def take_touched(self):
        """The keys that were written since the last call."""
        with self.lock:
            touched, self.model.touched = self.model.touched, set()
        return touched

    def may_write(self, bucket, key):
        return (bucket, key) not in self.model.retired
