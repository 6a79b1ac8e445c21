"""A lean S3 client that hides nothing: no retries, and it says what is not known.

It signs by SigV4, keeps one connection a thread, and can hold back the last byte of a
request, so that many requests end at one moment.

Not here: what an answer means for the objects (acklog), and XML beyond a tag's text.
"""

import datetime
import hashlib
import hmac
import http.client
import re
import socket
import threading
import time
from typing import NamedTuple
from urllib.parse import quote, urlsplit

# The server ends a connection that was idle for ten seconds; it is left before that.
IDLE_SECONDS = 4


class Unanswered(Exception):
    """The request was sent, and nobody knows what became of it."""


class NotSent(Exception):
    """Nobody listens: nothing was asked."""


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def is_ok(self):
        return 200 <= self.status < 300

    @property
    def code(self):
        return tag(self.body, "Code") or str(self.status)

    @property
    def etag(self):
        return self.headers["ETag"]

    @property
    def version(self):
        return self.headers["x-amz-version-id"]


def tag(body, name):
    """The text of the first XML element of this name."""
    found = re.search(rf"<{name}>([^<]*)</{name}>", body.decode(errors="replace"))
    return found and found[1].replace("&quot;", '"').replace("&amp;", "&")


def hashed(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Client:
    """`endpoint` is what endpoint.json holds; `at` replaces its HOST:PORT."""

    def __init__(self, endpoint, at=None, timeout=30):
        self.key_id, self.secret = endpoint["access_key_id"], endpoint["secret_access_key"]
        self.region = endpoint["region"]
        self.at = at or urlsplit(endpoint["endpoint"]).netloc
        self.timeout = timeout
        self.kept = threading.local()

    def request_bytes(self, method, path, query=None, headers=None, body=b"", length=None):
        """A signed request as it goes over the wire. With `length` the body follows later."""
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        length = len(body) if length is None else length
        payload = hashlib.sha256(body).hexdigest() if length == len(body) else "UNSIGNED-PAYLOAD"
        fields = {name.lower(): value for name, value in (headers or {}).items()}
        fields |= {"host": self.at, "x-amz-date": now, "x-amz-content-sha256": payload}
        query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}"
                         for name, value in sorted((query or {}).items()))
        path = quote(path, safe="/-_.~")
        names = ";".join(sorted(fields))
        canonical = "\n".join([method, path, query,
                               *(f"{name}:{fields[name]}" for name in sorted(fields)),
                               "", names, payload])
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"AWS4{self.secret}".encode()
        for part in scope.split("/"):
            key = hashed(key, part)
        signature = hashed(key, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}").hex()
        fields["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.key_id}/{scope},"
                                   f"SignedHeaders={names},Signature={signature}")
        fields["content-length"] = str(length)
        target = f"{path}?{query}" if query else path
        lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items()), "", ""]
        return "\r\n".join(lines).encode() + body

    def connect(self):
        host, port = self.at.rsplit(":", 1)
        try:
            return socket.create_connection((host, int(port)), self.timeout)
        except OSError as error:
            raise NotSent(str(error)) from error

    def connection(self):
        kept = getattr(self.kept, "connection", None)
        if kept and time.monotonic() - self.kept.since < IDLE_SECONDS:
            self.kept.connection = None
            return kept
        self.close()
        return self.connect()

    def close(self):
        kept = getattr(self.kept, "connection", None)
        if kept:
            kept.close()
        self.kept.connection = None

    def exchange(self, method, raw, before_last=None):
        """Sends a request and reads its answer; calls `before_last` ahead of the last byte."""
        try:
            connection = self.connection()
        except NotSent:
            if before_last:
                before_last()
            raise
        try:
            if before_last:
                connection.sendall(raw[:-1])
                before_last()
                raw = raw[-1:]
            answer, may_stay = read_answer(connection, method, raw)
        except BaseException:
            connection.close()
            raise
        if may_stay:
            self.kept.connection, self.kept.since = connection, time.monotonic()
        else:
            connection.close()
        return answer

    def ask(self, method, path, query=None, headers=None, body=b"", before_last=None):
        return self.exchange(method, self.request_bytes(method, path, query, headers, body),
                             before_last)

    def put(self, bucket, key, body, **headers):
        return self.ask("PUT", f"/{bucket}/{key}", headers=headers, body=body)

    def get(self, bucket, key, version=None, **headers):
        query = {"versionId": version} if version else None
        return self.ask("GET", f"/{bucket}/{key}", query, headers)

    def delete(self, bucket, key):
        return self.ask("DELETE", f"/{bucket}/{key}")

    def create_bucket(self, bucket, versioned=False):
        """Makes a bucket; what goes wrong here is an error of the test."""
        answers = [self.ask("PUT", f"/{bucket}")]
        if versioned:
            answers.append(self.ask("PUT", f"/{bucket}", {"versioning": ""}, body=(
                b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")))
        for answer in answers:
            assert answer.is_ok, answer

    def begin_upload(self, bucket, key):
        answer = self.ask("POST", f"/{bucket}/{key}", {"uploads": ""})
        return answer, tag(answer.body, "UploadId")

    def put_part(self, bucket, key, upload, number, body):
        query = {"partNumber": str(number), "uploadId": upload}
        return self.ask("PUT", f"/{bucket}/{key}", query, body=body)

    def complete(self, bucket, key, upload, etags, before_last=None, **headers):
        body = complete_body(etags)
        return self.ask("POST", f"/{bucket}/{key}", {"uploadId": upload}, headers, body,
                        before_last)

    def list(self, bucket):
        """Every key, page by page."""
        token, found = None, []
        while True:
            query = {"list-type": "2"} | ({"continuation-token": token} if token else {})
            answer = self.ask("GET", f"/{bucket}", query)
            assert answer.is_ok, answer
            found += re.findall(r"<Key>([^<]*)</Key>", answer.body.decode())
            token = tag(answer.body, "NextContinuationToken")
            if not token:
                return found


def complete_body(etags):
    parts = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
                    for number, etag in enumerate(etags, 1))
    return f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()


def read_answer(connection, method, raw):
    """The answer, and whether the connection may be used again."""
    is_sent = True
    try:
        connection.sendall(raw)
    except OSError:
        # A server that refuses early stops reading; its answer may be there all the same.
        is_sent = False
    try:
        response = http.client.HTTPResponse(connection, method=method)
        response.begin()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unanswered(f"{type(error).__name__}: {error}") from error
    return Answer(response.status, response.headers, body), is_sent and not response.will_close
