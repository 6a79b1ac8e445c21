"""What the smoke checks share: a network under test, real content, comparisons.

Every process that is started here is remembered and ended here, by its id.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

# Generous: a busy two-core machine runs this beside a compiler.
START_SECONDS = 30
STOP_SECONDS = 60
COMMAND_SECONDS = 300


class Skip(Exception):
    """The check cannot run here; the text says why."""


class Report:
    """Runs checks, prints how each went, and counts."""

    def __init__(self, only):
        self.only = only
        self.passed = self.failed = self.skipped = 0

    def check(self, check, subject):
        """`check` passes unless it raises; what it returns is printed as a measurement."""
        name = check.__name__.replace("_", " ")
        if self.only and self.only not in name:
            return
        begin = time.monotonic()
        try:
            measured = check(subject)
        except Skip as reason:
            self.skipped += 1
            print(f"SKIP {name}: {reason}", flush=True)
        except Exception as error:  # Each check is judged for itself.
            self.failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
            traceback.print_exc()
        else:
            self.passed += 1
            seconds = time.monotonic() - begin
            shown = f": {measured}" if isinstance(measured, str) else ""
            print(f"ok {name}{shown} ({seconds:.1f} s)", flush=True)


class Context:
    """The program under test and a scratch folder."""

    def __init__(self, binary, scratch):
        self.binary = str(Path(binary).resolve())
        self.scratch = Path(scratch)
        self.started = []
        home = self.scratch / "home"
        home.mkdir()
        # Nothing of the user's own configuration may take part.
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(self.scratch),
            "LC_ALL": "C.UTF-8",
            "NO_PROXY": "*",
        }

    def folder(self, name):
        path = self.scratch / name
        path.mkdir()
        return path

    def spawn(self, log, *arguments):
        """Starts the program; its output goes to the file `log`."""
        with open(log, "ab") as out:
            process = subprocess.Popen(
                [self.binary, *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env,
            )
        self.started.append(process)
        return process

    def run(self, *command, env=None, expect=0, seconds=COMMAND_SECONDS):
        """Runs a command to its end and returns it. `expect` None takes any exit code."""
        done = subprocess.run(
            [str(part) for part in command], env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False,
        )
        done.stdout = done.stdout.decode(errors="replace")
        done.stderr = done.stderr.decode(errors="replace")
        if expect is not None and done.returncode != expect:
            shown = " ".join(map(str, command))
            raise AssertionError(
                f"`{shown}` ended with {done.returncode}: {done.stderr[-2000:]}{done.stdout[-2000:]}"
            )
        return done

    def stratos(self, *arguments, **options):
        return self.run(self.binary, *arguments, **options)

    def end_all(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()


class Network:
    """One `stratos up DIR`."""

    def __init__(self, context, name, *options):
        self.context = context
        self.dir = context.scratch / name
        self.log = context.scratch / f"{name}.log"
        self.options = options or ("--epoch", "5s")
        self.process = None
        self.endpoint = None

    def start(self, listen="127.0.0.1:0"):
        """Starts and waits until it is ready; returns the seconds that took."""
        file = self.dir / "endpoint.json"
        before = stamp(file)
        begin = time.monotonic()
        self.process = self.context.spawn(
            self.log, "up", self.dir, "--listen", listen, *self.options
        )

        def written():
            if self.process.poll() is not None:
                raise AssertionError(f"up ended with {self.process.returncode}: {tail(self.log)}")
            # After a crash the file of the last run is still there.
            return stamp(file) not in (None, before)

        wait_until(START_SECONDS, "endpoint.json", written, every=0.01, log=self.log)
        seconds = time.monotonic() - begin
        self.endpoint = json.loads(file.read_text())
        return seconds

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def url(self, path=""):
        return self.endpoint["endpoint"].rstrip("/") + path

    def s3(self, key=None, **config):
        """A boto3 client with the SDK's defaults, but no retries that could hide an error."""
        key = key or self.endpoint
        settings = {
            "signature_version": "s3v4",
            "s3": {"addressing_style": "path"},
            "retries": {"total_max_attempts": 1},
            "connect_timeout": 10,
            "read_timeout": 120,
            **config,
        }
        return boto3.session.Session().client(
            "s3", endpoint_url=self.url(), region_name=self.endpoint["region"],
            aws_access_key_id=key["access_key_id"],
            aws_secret_access_key=key["secret_access_key"],
            config=Config(**settings),
        )

    def cli(self, *arguments):
        """A command of the program about this network; returns its JSON."""
        done = self.context.stratos(*arguments, "--data", self.dir, "--json")
        return json.loads(done.stdout)

    def peak_memory(self):
        """Most memory that the process has held, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line, = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * KIB

    def first_account(self):
        keys = self.cli("key", "list")["keys"]
        own, = [key for key in keys if key["access_key_id"] == self.endpoint["access_key_id"]]
        return own["account"]


def stamp(file):
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino


def tail(log, lines=15):
    return "\n" + "\n".join(Path(log).read_text(errors="replace").splitlines()[-lines:])


def wait_until(seconds, what, probe, every=0.1, log=None):
    """Asks until the answer is true; returns it."""
    end = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"no {what} within {seconds} s{tail(log) if log else ''}")
        time.sleep(every)


def http_status(url):
    """Status and body of a plain GET; 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError as error:
        return 0, str(error).encode()


def content(name, size):
    """Bytes that look random and depend on the name only."""
    return random.Random(name).randbytes(size)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def read_tree(folder):
    """Path -> (size, hash) of every file below."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                hashed = hashlib.file_digest(file, "sha256").hexdigest()
            found[str(path.relative_to(folder))] = (path.stat().st_size, hashed)
    return found


def assert_same_tree(one, other):
    left, right = read_tree(one), read_tree(other)
    missing, extra = sorted(left.keys() - right.keys()), sorted(right.keys() - left.keys())
    assert not missing and not extra, f"missing {missing[:5]}, extra {extra[:5]}"
    differ = [name for name in left if left[name] != right[name]]
    assert not differ, f"other bytes in {differ[:5]}"
    return len(left)


def make_odd_tree(folder):
    """Files whose names and sizes have broken S3 clients and servers before."""
    deep = "/".join(f"level {i}" for i in range(25))
    names = [
        "plain.txt", "with space.txt", " leading", "trailing ", "two  spaces", "ünïcödé.txt",
        "日本語/файл/ملف.txt", "e\u0301 decomposed", "é composed", "emoji-🙂🙃.bin", "plus+plus.txt",
        "+", "100%.txt", "per%20cent.txt", "%2F.txt", "%", "quote'single.txt", 'quote"double.txt',
        "back\\slash.txt", "amp&=equals.txt", "semi;colon,comma.txt", "question?mark.txt",
        "hash#tag.txt", "[b](p){c}.txt", "~tilde!*.txt", "<less>greater.txt", "pipe|caret^.txt",
        "$dollar@at:colon`tick.txt", ".hidden", ".dir/.file", "..two", "...", "-dash", "_under",
        f"{deep}/bottom.txt", "n" * 255, "folder/same", "folder.same", "folder-same",
        "UPPER.txt", "upper.txt", "Upper.txt", "a/b/c/d", "a/b/c-d", "a/b.c",
    ]
    for name in names:
        write(folder / "names" / name, content(name, 100 + len(name)))
    # Around the limits of inline objects, cipher chunks, stripes and parts.
    sizes = [0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 256 * KIB - 1, 256 * KIB,
             MIB + 3, 8 * MIB, 9 * MIB + 1, 100 * MIB]
    for size in sizes:
        write(folder / "sizes" / f"{size}.bin", content(f"size {size}", size))
    write(folder / "empty" / "also empty", b"")
    return folder


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def file_of(folder, name, size):
    path = folder / name
    write(path, content(name, size))
    return path


def make_objects(s3, bucket, sizes):
    """Uploads objects of these sizes; returns key -> hash."""
    s3.create_bucket(Bucket=bucket)
    made = {}
    for index, size in enumerate(sizes):
        key = f"object {index:03}"
        data = content(key, size)
        s3.put_object(Bucket=bucket, Key=key, Body=data)
        made[key] = digest(data)
    return made


def assert_all_read(s3, bucket, made):
    """Every object comes back byte for byte."""
    for key, wanted in made.items():
        data = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert digest(data) == wanted, f"other bytes in {key}"
    return len(made)
