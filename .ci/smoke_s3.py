"""boto3 with its default settings, on the shared network."""

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.request import Request, urlopen
from urllib.error import HTTPError

from botocore.exceptions import ClientError

from smoke_harness import KIB, MIB, content, digest, http_status

ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]


@contextmanager
def refused(code, status=None):
    """What is inside must be refused with this S3 code (HEAD has only the status)."""
    try:
        yield
    except ClientError as error:
        got = error.response["Error"]["Code"]
        got_status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        codes = code if isinstance(code, tuple) else (code,)
        assert got in codes, f"{got} instead of {code}: {error}"
        assert status in (None, got_status), f"{got_status} instead of {status}"
    else:
        raise AssertionError(f"accepted, although {code} was expected")


def absent(s3, bucket, key):
    with refused("404", 404):
        s3.head_object(Bucket=bucket, Key=key)


def body(s3, bucket, key, **options):
    return s3.get_object(Bucket=bucket, Key=key, **options)["Body"].read()


def buckets_come_and_go(network):
    s3 = network.s3()
    s3.create_bucket(Bucket="comes-and-goes")
    assert "comes-and-goes" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket="comes-and-goes")
    assert "LocationConstraint" in s3.get_bucket_location(Bucket="comes-and-goes")
    s3.put_object(Bucket="comes-and-goes", Key="k", Body=b"x")
    with refused("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket="comes-and-goes")
    s3.delete_object(Bucket="comes-and-goes", Key="k")
    s3.delete_bucket(Bucket="comes-and-goes")
    with refused("404", 404):
        s3.head_bucket(Bucket="comes-and-goes")
    with refused("InvalidBucketName", 400):
        # The SDK lets this one through.
        s3.create_bucket(Bucket="under_score")


def every_checksum_algorithm_is_verified_kept_and_returned(network):
    s3 = network.s3()
    s3.create_bucket(Bucket="checksums")
    for algorithm in ALGORITHMS:
        field = f"Checksum{algorithm}"
        for size in (0, 1000, 300 * KIB):
            key, data = f"{algorithm}-{size}", content(algorithm, size)
            put = s3.put_object(Bucket="checksums", Key=key, Body=data, ChecksumAlgorithm=algorithm)
            # The SDK compares the sum with the bytes that it reads.
            got = s3.get_object(Bucket="checksums", Key=key, ChecksumMode="ENABLED")
            assert got["Body"].read() == data
            head = s3.head_object(Bucket="checksums", Key=key, ChecksumMode="ENABLED")
            assert put[field] == got[field] == head[field], (key, put, got, head)
            assert put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"', put["ETag"]


def a_wrong_checksum_is_refused_and_stores_nothing(network):
    s3 = network.s3()
    s3.create_bucket(Bucket="wrong-sums")
    wrong = {
        "ChecksumCRC32": 4, "ChecksumCRC32C": 4, "ChecksumCRC64NVME": 8,
        "ChecksumSHA1": 20, "ChecksumSHA256": 32, "ContentMD5": 16,
    }
    for field, size in wrong.items():
        for length in (100, 300 * KIB):
            value = base64.b64encode(bytes(size)).decode()
            with refused("BadDigest", 400):
                s3.put_object(Bucket="wrong-sums", Key=field, Body=bytes(length), **{field: value})
            absent(s3, "wrong-sums", field)
    with refused("InvalidDigest", 400):
        s3.put_object(Bucket="wrong-sums", Key="k", Body=b"x", ContentMD5="not-md5")
    # What is there already stays as it is.
    s3.put_object(Bucket="wrong-sums", Key="kept", Body=b"first")
    with refused("BadDigest", 400):
        s3.put_object(Bucket="wrong-sums", Key="kept", Body=b"second",
                      ContentMD5=base64.b64encode(bytes(16)).decode())
    assert body(s3, "wrong-sums", "kept") == b"first"


def ranges_are_exact(network):
    s3 = network.s3()
    s3.create_bucket(Bucket="ranges")
    for size in (4000, 5 * MIB + 77, 70 * MIB):
        key, data = str(size), content("ranges", size)
        s3.put_object(Bucket="ranges", Key=key, Body=data)
        half = size // 2
        for first, last in [(0, 0), (0, 99), (1, 65536), (half - 1, half + 70000), (size - 1, size)]:
            got = s3.get_object(Bucket="ranges", Key=key, Range=f"bytes={first}-{last}")
            assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
            assert got["Body"].read() == data[first:last + 1], (size, first, last)
            shown = f"bytes {first}-{min(last, size - 1)}/{size}"
            assert got["ContentRange"] == shown, got["ContentRange"]
        assert body(s3, "ranges", key, Range="bytes=-100") == data[-100:]
        assert body(s3, "ranges", key, Range=f"bytes={size - 10}-") == data[-10:]
        with refused("InvalidRange", 416):
            s3.get_object(Bucket="ranges", Key=key, Range=f"bytes={size}-")
    # Across the border of two segments (64 MiB).
    data = content("ranges", 70 * MIB)
    border = 64 * MIB
    got = body(s3, "ranges", str(70 * MIB), Range=f"bytes={border - 5}-{border + 4}")
    assert got == data[border - 5:border + 5]


def conditional_writes_have_one_winner(network):
    s3 = network.s3(max_pool_connections=16)
    s3.create_bucket(Bucket="conditions")
    bucket = {"Bucket": "conditions"}
    first = s3.put_object(**bucket, Key="k", Body=b"one", IfNoneMatch="*")
    with refused("PreconditionFailed", 412):
        s3.put_object(**bucket, Key="k", Body=b"two", IfNoneMatch="*")
    with refused("PreconditionFailed", 412):
        s3.put_object(**bucket, Key="k", Body=b"two", IfMatch='"00000000000000000000000000000000"')
    assert body(s3, "conditions", "k") == b"one"
    s3.put_object(**bucket, Key="k", Body=b"three", IfMatch=first["ETag"])
    assert body(s3, "conditions", "k") == b"three"

    def race(number):
        data = content(f"racer {number}", 20 * KIB)
        try:
            s3.put_object(**bucket, Key="race", Body=data, IfNoneMatch="*")
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            assert status in (409, 412), error
            return None
        return data

    with ThreadPoolExecutor(16) as pool:
        winners = [data for data in pool.map(race, range(16)) if data is not None]
    assert len(winners) == 1, f"{len(winners)} winners"
    assert body(s3, "conditions", "race") == winners[0]


def conditional_reads_follow_the_etag(network):
    s3 = network.s3()
    s3.create_bucket(Bucket="reads")
    etag = s3.put_object(Bucket="reads", Key="k", Body=b"x" * 5000)["ETag"]
    assert len(body(s3, "reads", "k", IfMatch=etag)) == 5000
    with refused(("304", "NotModified"), 304):
        s3.get_object(Bucket="reads", Key="k", IfNoneMatch=etag)
    with refused("PreconditionFailed", 412):
        s3.get_object(Bucket="reads", Key="k", IfMatch='"0"')


def copies_keep_or_replace_metadata(network):
    s3 = network.s3()
    s3.create_bucket(Bucket="copy-from")
    s3.create_bucket(Bucket="copy-to")
    for size in (100, 6 * MIB):
        source, data = f"söurce +{size}", content("copy", size)
        s3.put_object(Bucket="copy-from", Key=source, Body=data, Metadata={"one": "1"},
                      ContentType="text/x-copied")
        origin = {"Bucket": "copy-from", "Key": source}
        s3.copy_object(Bucket="copy-to", Key="kept", CopySource=origin)
        kept = s3.get_object(Bucket="copy-to", Key="kept")
        assert kept["Body"].read() == data
        assert kept["Metadata"] == {"one": "1"} and kept["ContentType"] == "text/x-copied"
        s3.copy_object(Bucket="copy-from", Key=source, CopySource=origin,
                       MetadataDirective="REPLACE", Metadata={"two": "2"})
        replaced = s3.get_object(**origin)
        assert replaced["Body"].read() == data and replaced["Metadata"] == {"two": "2"}
    with refused("InvalidRequest", 400):
        s3.copy_object(**origin, CopySource=origin)
    with refused("NoSuchKey", 404):
        s3.copy_object(Bucket="copy-to", Key="k", CopySource="copy-from/absent")
    # A copy stands on its own feet.
    s3.delete_object(**origin)
    assert digest(body(s3, "copy-to", "kept")) == digest(data)


def many_objects_are_deleted_at_once(network):
    s3 = network.s3()
    s3.create_bucket(Bucket="delete-many")
    keys = [f"k {n} <&> é" for n in range(30)]
    for key in keys:
        s3.put_object(Bucket="delete-many", Key=key, Body=key.encode())
    named = [{"Key": key} for key in [*keys[:20], "was never there"]]
    done = s3.delete_objects(Bucket="delete-many", Delete={"Objects": named})
    assert len(done["Deleted"]) == 21 and not done.get("Errors"), done
    left = s3.list_objects_v2(Bucket="delete-many")["Contents"]
    assert [found["Key"] for found in left] == sorted(keys[20:], key=str.encode)
    quiet = s3.delete_objects(Bucket="delete-many",
                              Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True})
    assert not quiet.get("Deleted") and not quiet.get("Errors"), quiet


def listings_are_whole_and_in_order(network):
    s3 = network.s3()
    bucket = {"Bucket": "listings"}
    s3.create_bucket(**bucket)
    keys = [f"a/{n:02}" for n in range(25)] + ["a", "a/x/1", "a/x/2", "b", "ü", "z +%&<\u0301>"]
    for key in keys:
        s3.put_object(**bucket, Key=key, Body=b"v")
    ordered = sorted(keys, key=str.encode)

    def paged(operation, field, **options):
        pages = s3.get_paginator(operation).paginate(**bucket, **options,
                                                     PaginationConfig={"PageSize": 7})
        return [found["Key"] for page in pages for found in page.get(field, [])]

    assert paged("list_objects_v2", "Contents") == ordered
    assert paged("list_objects", "Contents") == ordered
    assert paged("list_object_versions", "Versions") == ordered
    versions = s3.list_object_versions(**bucket, MaxKeys=5)["Versions"]
    assert {found["VersionId"] for found in versions} == {"null"}
    assert all(found["IsLatest"] for found in versions)
    rolled = s3.list_objects_v2(**bucket, Delimiter="/")
    assert [found["Prefix"] for found in rolled["CommonPrefixes"]] == ["a/"]
    assert [found["Key"] for found in rolled["Contents"]] == ["a", "b", *ordered[-2:]]
    inner = s3.list_objects_v2(**bucket, Prefix="a/", Delimiter="/")
    assert [found["Prefix"] for found in inner["CommonPrefixes"]] == ["a/x/"]
    assert inner["KeyCount"] == 26, inner["KeyCount"]
    after = s3.list_objects_v2(**bucket, StartAfter="a/x/1")["Contents"]
    assert after[0]["Key"] == "a/x/2"
    assert s3.list_objects_v2(**bucket, MaxKeys=0)["KeyCount"] == 0


def keys_are_bytes(network):
    s3 = network.s3()
    s3.create_bucket(Bucket="keys")
    # The SDK's own URL builder keeps these apart, so the server must.
    keys = ["a//b", "a/b", "a/./b", "a/../b", "/leading", "trailing/", "trailing", "+", " ", "%2F",
            "%252F", "ü", "u\u0308", "\u65e5\u672c", "\U0001f642", "k" * 1024, "tab\there", "a\\b"]
    for key in keys:
        s3.put_object(Bucket="keys", Key=key, Body=key.encode())
    for key in keys:
        assert body(s3, "keys", key) == key.encode(), key
    listed = [found["Key"] for found in s3.list_objects_v2(Bucket="keys")["Contents"]]
    assert listed == sorted(keys, key=str.encode)
    with refused("KeyTooLongError", 400):
        s3.put_object(Bucket="keys", Key="k" * 1025, Body=b"")


def metadata_and_headers_come_back(network):
    s3 = network.s3()
    s3.create_bucket(Bucket="metadata")
    sent = {
        "ContentType": "text/html; charset=utf-8", "CacheControl": "max-age=60",
        "ContentDisposition": 'attachment; filename="a b.html"', "ContentEncoding": "gzip",
        "ContentLanguage": "de",
    }
    s3.put_object(Bucket="metadata", Key="k", Body=b"12345", Metadata={"Mixed-Case": "value 1"},
                  **sent)
    for answer in (s3.head_object(Bucket="metadata", Key="k"),
                   s3.get_object(Bucket="metadata", Key="k")):
        assert answer["Metadata"] == {"mixed-case": "value 1"}, answer["Metadata"]
        assert {field: answer[field] for field in sent} == sent
        assert answer["ContentLength"] == 5 and answer["LastModified"]
    other = s3.get_object(Bucket="metadata", Key="k", ResponseContentType="text/plain")
    assert other["ContentType"] == "text/plain"
    with refused("MetadataTooLarge", 400):
        s3.put_object(Bucket="metadata", Key="large", Body=b"", Metadata={"k": "v" * 2100})


def what_is_not_there_is_named(network):
    s3 = network.s3()
    s3.create_bucket(Bucket="empty-bucket")
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket="empty-bucket", Key="absent")
    absent(s3, "empty-bucket", "absent")
    with refused("NoSuchBucket", 404):
        s3.get_object(Bucket="absent-bucket", Key="k")
    with refused("NoSuchBucket", 404):
        s3.put_object(Bucket="absent-bucket", Key="k", Body=b"")
    with refused("NoSuchBucket", 404):
        s3.list_objects_v2(Bucket="absent-bucket")
    # Deleting what is not there succeeds, as everywhere.
    s3.delete_object(Bucket="empty-bucket", Key="absent")


def wrong_signatures_are_refused(network):
    network.s3().create_bucket(Bucket="signed")
    key = network.endpoint["access_key_id"]
    wrong = network.s3({"access_key_id": key, "secret_access_key": "x" * 40})
    with refused("SignatureDoesNotMatch", 403):
        wrong.list_objects_v2(Bucket="signed")
    with refused("SignatureDoesNotMatch", 403):
        wrong.put_object(Bucket="signed", Key="k", Body=b"x" * 100_000)
    unknown = network.s3({"access_key_id": "NOSUCHKEY0123456789A", "secret_access_key": "x" * 40})
    with refused("InvalidAccessKeyId", 403):
        unknown.list_buckets()
    absent(network.s3(), "signed", "k")
    assert http_status(network.url("/signed"))[0] == 403
    assert http_status(network.url("/signed/k"))[0] == 403


def signature_v2_is_refused_with_advice(network):
    s3 = network.s3(signature_version="s3")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
    try:
        urlopen(Request(url), timeout=10)
    except HTTPError as error:
        text = error.read().decode()
        assert error.code in (400, 403), error.code
        assert "<Error>" in text and "s3v4" in text, text
    else:
        raise AssertionError("a V2 URL was accepted")


def health_and_metrics_answer(network):
    assert http_status(network.url("/health/live"))[0] == 200
    assert http_status(network.url("/health/ready"))[0] == 200
    status, text = http_status(network.url("/metrics"))
    assert status == 200 and b"# TYPE " in text, text[:200]


CHECKS = [
    buckets_come_and_go,
    every_checksum_algorithm_is_verified_kept_and_returned,
    a_wrong_checksum_is_refused_and_stores_nothing,
    ranges_are_exact,
    conditional_writes_have_one_winner,
    conditional_reads_follow_the_etag,
    copies_keep_or_replace_metadata,
    many_objects_are_deleted_at_once,
    listings_are_whole_and_in_order,
    keys_are_bytes,
    metadata_and_headers_come_back,
    what_is_not_there_is_named,
    wrong_signatures_are_refused,
    signature_v2_is_refused_with_advice,
    health_and_metrics_answer,
]
