"""minio-py: its own signer, checksums, parts, presigned requests, policies, tags."""

import io
import json
import urllib.request
from datetime import datetime, timedelta, timezone
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.commonconfig import ComposeSource, CopySource, Tags
from minio.datatypes import PostPolicy
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from minio.versioningconfig import ENABLED, VersioningConfig

from gate import KIB, MIB, ODD_KEYS, content, file_of, main


def client(gate):
    pool = urllib3.PoolManager(ca_certs=gate.ca) if gate.ca else None
    return Minio(urlsplit(gate.endpoint).netloc, access_key=gate.access, secret_key=gate.secret,
                 secure=gate.secure, region=gate.region, http_client=pool)


def objects_of_every_size_come_back(gate, bucket):
    minio = client(gate)
    for size in (0, 1, 64 * KIB + 1, 6 * MIB, 17 * MIB + 3):
        data = content(f"{size}", size)
        minio.put_object(bucket, f"size {size}", io.BytesIO(data), size)
        gate.assert_holds(bucket, f"size {size}", data)
        answer = minio.get_object(bucket, f"size {size}")
        assert answer.read() == data
        answer.close()
        answer.release_conn()


def a_stream_of_unknown_length_is_stored(gate, bucket):
    data = content("stream", 12 * MIB + 11)
    client(gate).put_object(bucket, "stream", io.BytesIO(data), -1, part_size=5 * MIB)
    gate.assert_holds(bucket, "stream", data)


def files_are_put_and_got_with_metadata(gate, bucket):
    minio = client(gate)
    sent = file_of(gate.folder("minio"), "sent", 9 * MIB)
    minio.fput_object(bucket, "a/file +", str(sent), metadata={"Colour": "blue"},
                      content_type="text/x-odd")
    facts = minio.stat_object(bucket, "a/file +")
    assert facts.size == 9 * MIB and facts.metadata["x-amz-meta-colour"] == "blue", facts.metadata
    back = gate.folder("minio") / "back"
    minio.fget_object(bucket, "a/file +", str(back))
    assert back.read_bytes() == sent.read_bytes()


def objects_are_composed_and_copied(gate, bucket):
    minio = client(gate)
    first, second = content("one", 6 * MIB), content("two", 3 * MIB)
    gate.put(bucket, "one", first)
    gate.put(bucket, "two ü", second)
    minio.compose_object(bucket, "both", [ComposeSource(bucket, "one"),
                                          ComposeSource(bucket, "two ü")])
    gate.assert_holds(bucket, "both", first + second)
    minio.copy_object(bucket, "copy", CopySource(bucket, "two ü"))
    gate.assert_holds(bucket, "copy", second)


def odd_keys_are_listed_and_removed(gate, bucket):
    minio = client(gate)
    for key in ODD_KEYS:
        minio.put_object(bucket, key, io.BytesIO(b"x"), 1)
    for use_v1 in (False, True):
        listed = [entry.object_name for entry in
                  minio.list_objects(bucket, recursive=True, use_api_v1=use_v1)]
        assert sorted(listed) == sorted(ODD_KEYS), listed
    errors = list(minio.remove_objects(bucket, [DeleteObject(key) for key in ODD_KEYS]))
    assert not errors and gate.keys(bucket) == [], errors


def presigned_requests_work_without_a_key(gate, bucket):
    minio = client(gate)
    data = content("presigned", 20 * KIB)
    url = minio.presigned_put_object(bucket, "p q", expires=timedelta(minutes=5))
    urllib.request.urlopen(urllib.request.Request(url, data=data, method="PUT"), timeout=60).close()
    with urllib.request.urlopen(minio.presigned_get_object(bucket, "p q"), timeout=60) as answer:
        assert answer.read() == data


def a_post_policy_is_taken(gate, bucket):
    minio = client(gate)
    policy = PostPolicy(bucket, datetime.now(timezone.utc) + timedelta(minutes=5))
    policy.add_equals_condition("key", "form")
    policy.add_content_length_range_condition(1, 1 * MIB)
    fields = minio.presigned_post_policy(policy)
    data = content("form", 5 * KIB)
    pool = urllib3.PoolManager(ca_certs=gate.ca) if gate.ca else urllib3.PoolManager()
    answer = pool.request("POST", f"{gate.endpoint}/{bucket}", fields={
        **fields, "key": "form", "file": ("form.bin", data)})
    assert answer.status == 204, (answer.status, answer.data)
    gate.assert_holds(bucket, "form", data)


def policies_tags_and_versions_are_set(gate, bucket):
    minio = client(gate)
    policy = {"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/open/*"]}]}
    minio.set_bucket_policy(bucket, json.dumps(policy))
    assert json.loads(minio.get_bucket_policy(bucket)) == policy
    gate.put(bucket, "open/page", b"anyone")
    with urllib.request.urlopen(f"{gate.direct}/{bucket}/open/page", timeout=30) as answer:
        assert answer.read() == b"anyone"
    minio.delete_bucket_policy(bucket)
    tags = Tags.new_object_tags()
    tags["Project"] = "one two"
    minio.set_object_tags(bucket, "open/page", tags)
    assert dict(minio.get_object_tags(bucket, "open/page")) == {"Project": "one two"}
    minio.set_bucket_versioning(bucket, VersioningConfig(ENABLED))
    minio.put_object(bucket, "open/page", io.BytesIO(b"second"), 6)
    listed = [entry.version_id for entry in
              minio.list_objects(bucket, include_version=True, recursive=True)]
    assert len(listed) == 2 and "null" in listed, listed


def errors_have_their_codes(gate, bucket):
    minio = client(gate)
    for call, code in ((lambda: minio.stat_object(bucket, "none"), "NoSuchKey"),
                       (lambda: minio.get_object(bucket + "-no", "none"), "NoSuchBucket"),
                       (lambda: minio.make_bucket("Bad_Name"), None)):
        try:
            call()
            raise AssertionError(f"no error {code}")
        except S3Error as error:
            assert error.code == code, error
        except ValueError:
            assert code is None


CHECKS = [
    objects_of_every_size_come_back,
    a_stream_of_unknown_length_is_stored,
    files_are_put_and_got_with_metadata,
    objects_are_composed_and_copied,
    odd_keys_are_listed_and_removed,
    presigned_requests_work_without_a_key,
    a_post_policy_is_taken,
    policies_tags_and_versions_are_set,
    errors_have_their_codes,
]

if __name__ == "__main__":
    main(CHECKS)
