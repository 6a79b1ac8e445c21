"""What every client check shares: where the gateway is, a bucket of its own, real
content, and a second opinion on what was stored. The standard library only, since each
client has a venv of its own.

A check is a function `check(gate, bucket)`; a script ends by `main(CHECKS)`. It is told
where the gateway is by AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_REGION and, over HTTPS, AWS_CA_BUNDLE; --trace prints the refused requests.
"""

import argparse
import datetime
import hashlib
import hmac
import http.client
import inspect
import os
import random
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import quote, urlsplit

from relay import Relay

KIB = 1 << 10
MIB = 1 << 20
COMMAND_SECONDS = 240
EMPTY = hashlib.sha256(b"").hexdigest()
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
ODD_KEYS = ["plain.txt", "with space.txt", "plus+plus.txt", "ünïcödé/日本語.txt", "100%.txt",
            "per%20cent.txt", "amp&=equals.txt", "quote'single.txt", "tilde~!.txt", "a/b/c.d"]


class Skip(Exception):
    """The check cannot run here; the text says why."""


class Gate:
    """The gateway, and a plain client for it that shares no code with the one under test."""

    def __init__(self, endpoint, access, secret, region, ca, scratch):
        self.endpoint = endpoint.rstrip("/")
        self.access, self.secret, self.region, self.scratch = access, secret, region, scratch
        self.ca = ca if self.secure else None
        # Clients may be sent through a relay; the second opinion never is.
        self.direct = self.endpoint

    @property
    def host(self):
        return urlsplit(self.endpoint).netloc

    @property
    def secure(self):
        return self.endpoint.startswith("https:")

    def folder(self, name):
        path = self.scratch / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def run(self, *command, env=None, expect=0, seconds=COMMAND_SECONDS, data=None, cwd=None):
        """Runs a program to its end; returns its output. `expect` None takes any exit code."""
        done = subprocess.run(
            [str(part) for part in command], env={**self.environment(), **(env or {})},
            stdin=subprocess.DEVNULL if data is None else None, input=data, cwd=cwd,
            capture_output=True, timeout=seconds, check=False)
        done.out = done.stdout.decode(errors="replace")
        done.err = done.stderr.decode(errors="replace")
        if expect is not None and done.returncode != expect:
            shown = " ".join(map(str, command)).replace(self.secret, "SECRET")
            raise AssertionError(f"`{shown}` ended with {done.returncode}: "
                                 f"{done.err[-1500:]}{done.out[-1500:]}")
        return done

    def environment(self):
        """Nothing of the user's own configuration takes part."""
        found = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder("home")), "TMPDIR": str(self.scratch), "LC_ALL": "C.UTF-8",
            "NO_PROXY": "*", "AWS_ACCESS_KEY_ID": self.access,
            "AWS_SECRET_ACCESS_KEY": self.secret, "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region, "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self.endpoint,
        }
        if self.ca:
            found.update(AWS_CA_BUNDLE=self.ca, SSL_CERT_FILE=self.ca, NODE_EXTRA_CA_CERTS=self.ca,
                         REQUESTS_CA_BUNDLE=self.ca)
        return found

    def request(self, method, bucket, key="", query=None, body=b"", headers=None):
        """One signed request; returns status, headers and body."""
        parts = urlsplit(self.direct)
        path = "/" + bucket + ("/" + quote(key, safe="/-_.~") if key else "")
        asked = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
                         for name, value in sorted((query or {}).items()))
        signed = self.sign(method, parts.netloc, path, asked, body, headers or {})
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=self.ca)
            link = http.client.HTTPSConnection(parts.netloc, timeout=60, context=context)
        else:
            link = http.client.HTTPConnection(parts.netloc, timeout=60)
        try:
            link.request(method, path + (f"?{asked}" if asked else ""), body or None, signed)
            answer = link.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            link.close()

    def sign(self, method, host, path, query, body, extra):
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        headers = {"host": host, "x-amz-date": now,
                   "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
                   **{name.lower(): value for name, value in extra.items()}}
        names = ";".join(sorted(headers))
        canonical = "\n".join([method, path, query,
                               *(f"{name}:{headers[name]}" for name in sorted(headers)), "",
                               names, headers["x-amz-content-sha256"]])
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope,
                          hashlib.sha256(canonical.encode()).hexdigest()])
        key = f"AWS4{self.secret}".encode()
        for part in (*scope.split("/"), text):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.access}/{scope}, "
                                    f"SignedHeaders={names}, Signature={key.hex()}")
        return headers

    def must(self, *arguments, **options):
        status, headers, body = self.request(*arguments, **options)
        assert status < 300, f"{arguments[:3]}: {status} {body[:600]!r}"
        return headers, body

    def create(self, bucket):
        self.must("PUT", bucket)
        return bucket

    def put(self, bucket, key, data, **headers):
        self.must("PUT", bucket, key, body=data, headers=headers)

    def get(self, bucket, key):
        return self.must("GET", bucket, key)[1]

    def exists(self, bucket, key):
        return self.request("HEAD", bucket, key)[0] == 200

    def keys(self, bucket, prefix=""):
        found, token = [], {}
        while True:
            query = {"list-type": "2", "prefix": prefix, **token}
            tree = ElementTree.fromstring(self.must("GET", bucket, query=query)[1])
            found += [key.text for key in tree.iter(f"{NAMESPACE}Key")]
            following = tree.find(f"{NAMESPACE}NextContinuationToken")
            if following is None:
                return found
            token = {"continuation-token": following.text}

    def uploads(self, bucket):
        tree = ElementTree.fromstring(self.must("GET", bucket, query={"uploads": ""})[1])
        return [(upload.find(f"{NAMESPACE}Key").text, upload.find(f"{NAMESPACE}UploadId").text)
                for upload in tree.iter(f"{NAMESPACE}Upload")]

    def assert_holds(self, bucket, key, data):
        """The second opinion: these very bytes are stored under this very key."""
        stored = self.get(bucket, key)
        assert stored == data, f"{key!r}: {len(stored)} bytes are not the {len(data)} sent"

    def remove(self, bucket):
        """Empties and deletes a bucket, and says so if it cannot."""
        status, _, body = self.request("GET", bucket, query={"versions": ""})
        if status == 404:
            return
        if status == 200:
            self.remove_versions(bucket, body)
        for key in self.keys(bucket):
            self.must("DELETE", bucket, key)
        for key, upload in self.uploads(bucket):
            self.must("DELETE", bucket, key, query={"uploadId": upload})
        self.must("DELETE", bucket)

    def remove_versions(self, bucket, body):
        while True:
            tree = ElementTree.fromstring(body)
            entries = [entry for kind in ("Version", "DeleteMarker")
                       for entry in tree.iter(NAMESPACE + kind)]
            for entry in entries:
                self.must("DELETE", bucket, entry.find(f"{NAMESPACE}Key").text or "",
                          query={"versionId": entry.find(f"{NAMESPACE}VersionId").text})
            if not entries:
                return
            body = self.must("GET", bucket, query={"versions": ""})[1]


def content(name, size):
    """Bytes that look random and depend on the name only."""
    return random.Random(name).randbytes(size)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def program(name):
    """A program beside this Python, or of the system."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise Skip(f"{name} is not installed")
    return found


def file_of(folder, name, size):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content(name, size))
    return path


def tree_of(folder):
    """A few files of the sizes and names that have broken clients before."""
    for name in ODD_KEYS:
        file_of(folder, name, 100 + len(name))
    for size in (0, 1, 65537, 256 * KIB, 6 * MIB + 1, 17 * MIB):
        file_of(folder, f"sizes/{size}.bin", size)
    return folder


def read_tree(folder):
    return {str(path.relative_to(folder)): digest(path.read_bytes())
            for path in sorted(folder.rglob("*")) if path.is_file()}


def assert_same_tree(one, other):
    left, right = read_tree(one), read_tree(other)
    assert left.keys() == right.keys(), f"only in one: {sorted(left.keys() ^ right.keys())[:6]}"
    differ = [name for name in left if left[name] != right[name]]
    assert not differ, f"other bytes in {differ[:5]}"


def wait_until(seconds, what, probe):
    end = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < end, f"no {what} within {seconds} s"
        time.sleep(0.1)


def arguments():
    parser = argparse.ArgumentParser()
    for name, variable in (("endpoint", "AWS_ENDPOINT_URL"), ("access-key", "AWS_ACCESS_KEY_ID"),
                           ("secret-key", "AWS_SECRET_ACCESS_KEY")):
        value = os.environ.get(variable)
        parser.add_argument(f"--{name}", default=value, required=value is None)
    parser.add_argument("--region", default=os.environ.get("AWS_REGION", "us-east-1"))
    parser.add_argument("--ca", default=os.environ.get("AWS_CA_BUNDLE"))
    parser.add_argument("--trace", action="store_true", help="show the requests that were refused")
    parser.add_argument("--only", help="run the checks with this text in their name")
    return parser.parse_args()


def main(checks):
    """Runs checks, each with a bucket of its own; exits with 1 when one failed."""
    chosen = arguments()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="client-") as scratch:
        gate = Gate(chosen.endpoint, chosen.access_key, chosen.secret_key, chosen.region,
                    chosen.ca, Path(scratch))
        os.environ.update(gate.environment())
        for check in checks:
            if chosen.only is None or chosen.only in check.__name__:
                failed += not one(gate, check, chosen.trace)
    sys.exit(1 if failed else 0)


def one(gate, check, trace):
    name = check.__name__.replace("_", " ")
    bucket = f"client-{os.getpid()}-{random.randrange(1 << 32):08x}"
    relay = Relay(gate.direct) if trace and not gate.secure else None
    gate.endpoint = relay.url if relay else gate.direct
    os.environ["AWS_ENDPOINT_URL"] = gate.endpoint
    begin = time.monotonic()
    try:
        gate.create(bucket)
        result = check(gate, bucket)
        gate.remove(bucket)
    except Skip as why:
        print(f"SKIP {name}: {why}", flush=True)
        gate.remove(bucket)
        return True
    except Exception as error:  # Whatever a client raises is the finding.
        print(f"FAIL {name}: {type(error).__name__}: {str(error)[-2500:]}", flush=True)
        own = [frame for frame in traceback.extract_tb(error.__traceback__)
               if frame.filename == inspect.getsourcefile(check)]
        if own:
            print(f"     at line {own[-1].lineno}: {own[-1].line}", flush=True)
        if relay:
            print(relay.close(), flush=True)
            relay = None
        try:
            gate.remove(bucket)
        except Exception as left:
            print(f"     and its bucket stays: {left}", flush=True)
        return False
    finally:
        if relay:
            relay.close()
    note = f" ({result})" if isinstance(result, str) else ""
    print(f"ok   {name}{note}, {time.monotonic() - begin:.1f} s", flush=True)
    return True
