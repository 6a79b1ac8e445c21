"""boto3 with its defaults: checksums, transfers in parts, presigned URLs, POST forms."""

import hashlib
import io
import threading
import urllib.error
import urllib.request
import zlib
from base64 import b64encode

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from gate import KIB, MIB, ODD_KEYS, content, digest, file_of, main


def client(gate, **config):
    settings = {"s3": {"addressing_style": "path"}, "retries": {"total_max_attempts": 1}, **config}
    return boto3.client("s3", endpoint_url=gate.endpoint, config=Config(**settings))


def default_checksums_are_stored_and_checked(gate, bucket):
    s3 = client(gate)
    data = content("default", 70 * KIB)
    put = s3.put_object(Bucket=bucket, Key="k", Body=data)
    assert "ChecksumCRC32" in put, put
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["ChecksumCRC32"] == put["ChecksumCRC32"], got
    assert got["Body"].read() == data
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    want = b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    assert head["ChecksumCRC32"] == want, head


def every_algorithm_is_taken_and_a_wrong_sum_is_refused(gate, bucket):
    s3 = client(gate)
    for name in ("CRC32", "SHA1", "SHA256", "CRC32C", "CRC64NVME"):
        data = content(name, 20 * KIB)
        try:
            put = s3.put_object(Bucket=bucket, Key=name, Body=data, ChecksumAlgorithm=name)
        except Exception as error:
            # Some need a library of their own in the client.
            if "[crt]" in str(error):
                continue
            raise
        head = s3.head_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED")
        assert head[f"Checksum{name}"] == put[f"Checksum{name}"], (name, head)
        gate.assert_holds(bucket, name, data)
    wrong = b64encode(hashlib.sha256(b"other").digest()).decode()
    try:
        s3.put_object(Bucket=bucket, Key="wrong", Body=b"this", ChecksumSHA256=wrong)
        raise AssertionError("a wrong checksum was taken")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "BadDigest", error.response["Error"]
    assert not gate.exists(bucket, "wrong")


def a_stream_without_length_is_uploaded_in_parts(gate, bucket):
    s3 = client(gate)
    data = content("stream", 21 * MIB + 5)

    class Pipe(io.RawIOBase):
        """Neither seekable nor of known length, like the output of a program."""

        source = io.BytesIO(data)

        def readable(self):
            return True

        def readinto(self, buffer):
            chunk = self.source.read(min(len(buffer), 100_000))
            buffer[:len(chunk)] = chunk
            return len(chunk)

    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB)
    s3.upload_fileobj(io.BufferedReader(Pipe()), bucket, "stream", Config=config)
    head = s3.head_object(Bucket=bucket, Key="stream", ChecksumMode="ENABLED")
    assert head["ETag"].endswith('-3"'), head["ETag"]
    back = io.BytesIO()
    s3.download_fileobj(bucket, "stream", back, Config=config)
    assert back.getvalue() == data
    gate.assert_holds(bucket, "stream", data)


def an_upload_is_resumed_by_what_its_list_of_parts_says(gate, bucket):
    first, whole = client(gate), content("resumed", 17 * MIB)
    parts = {number: whole[(number - 1) * 6 * MIB:number * 6 * MIB] for number in (1, 2, 3)}
    upload = first.create_multipart_upload(Bucket=bucket, Key="r")["UploadId"]
    for number in (1, 3):
        first.upload_part(Bucket=bucket, Key="r", UploadId=upload, PartNumber=number,
                          Body=parts[number])
    second = client(gate)
    open_uploads = second.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [entry["UploadId"] for entry in open_uploads] == [upload], open_uploads
    have = {part["PartNumber"]: part for part in
            second.list_parts(Bucket=bucket, Key="r", UploadId=upload)["Parts"]}
    assert have.keys() == {1, 3} and have[3]["Size"] == 5 * MIB, have
    sent = {number: part["ETag"] for number, part in have.items()}
    sent[2] = second.upload_part(Bucket=bucket, Key="r", UploadId=upload, PartNumber=2,
                                 Body=parts[2])["ETag"]
    second.complete_multipart_upload(Bucket=bucket, Key="r", UploadId=upload, MultipartUpload={
        "Parts": [{"PartNumber": number, "ETag": sent[number]} for number in sorted(sent)]})
    gate.assert_holds(bucket, "r", whole)
    assert "Uploads" not in second.list_multipart_uploads(Bucket=bucket)


def odd_keys_go_through_every_call(gate, bucket):
    s3 = client(gate)
    for key in [*ODD_KEYS, "a//b", "/lead", "./x", "dir/", "..", "new\nline", " "]:
        data = content(key, 500)
        s3.put_object(Bucket=bucket, Key=key, Body=data)
        gate_copy = f"copy of {key}"
        s3.copy_object(Bucket=bucket, Key=gate_copy, CopySource={"Bucket": bucket, "Key": key})
        assert s3.get_object(Bucket=bucket, Key=gate_copy)["Body"].read() == data, key
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]
        assert key in [entry["Key"] for entry in listed], (key, listed)
        gone = s3.delete_objects(Bucket=bucket, Delete={
            "Objects": [{"Key": key}, {"Key": gate_copy}]})
        assert len(gone["Deleted"]) == 2 and "Errors" not in gone, gone
        assert gate.request("HEAD", bucket, key)[0] == 404, key


def conditional_writes_have_one_winner(gate, bucket):
    outcomes = []

    def write(index):
        try:
            client(gate).put_object(Bucket=bucket, Key="lock", Body=f"writer {index}".encode(),
                                    IfNoneMatch="*")
            outcomes.append(index)
        except ClientError as error:
            assert error.response["Error"]["Code"] in (
                "PreconditionFailed", "ConditionalRequestConflict"), error

    threads = [threading.Thread(target=write, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 1, outcomes
    gate.assert_holds(bucket, "lock", f"writer {outcomes[0]}".encode())


def versions_are_kept_listed_and_restored(gate, bucket):
    s3 = client(gate)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ids = [s3.put_object(Bucket=bucket, Key="v", Body=f"body {n}".encode())["VersionId"]
           for n in range(3)]
    marker = s3.delete_object(Bucket=bucket, Key="v")
    assert marker["DeleteMarker"] is True, marker
    listed = s3.list_object_versions(Bucket=bucket)
    assert [entry["VersionId"] for entry in listed["Versions"]] == ids[::-1], listed
    assert listed["DeleteMarkers"][0]["IsLatest"] is True, listed
    old = s3.get_object(Bucket=bucket, Key="v", VersionId=ids[0])
    assert old["Body"].read() == b"body 0"
    s3.delete_object(Bucket=bucket, Key="v", VersionId=marker["VersionId"])
    gate.assert_holds(bucket, "v", b"body 2")


def tags_and_metadata_come_back(gate, bucket):
    s3 = client(gate)
    s3.put_object(Bucket=bucket, Key="t", Body=b"x", Tagging="a=1&b=two%20words",
                  Metadata={"colour": "blue"}, ContentType="text/x-odd", CacheControl="no-store",
                  ContentDisposition='attachment; filename="a b.txt"')
    tags = s3.get_object_tagging(Bucket=bucket, Key="t")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "1", "b": "two words"}, tags
    head = s3.head_object(Bucket=bucket, Key="t")
    assert head["Metadata"] == {"colour": "blue"} and head["ContentType"] == "text/x-odd", head
    assert head["CacheControl"] == "no-store", head
    s3.put_object_tagging(Bucket=bucket, Key="t", Tagging={"TagSet": [{"Key": "c", "Value": "3"}]})
    assert s3.get_object_tagging(Bucket=bucket, Key="t")["TagSet"] == [{"Key": "c", "Value": "3"}]
    s3.delete_object_tagging(Bucket=bucket, Key="t")
    assert s3.get_object_tagging(Bucket=bucket, Key="t")["TagSet"] == []


def a_file_goes_by_the_transfer_manager_and_presigned_url(gate, bucket):
    s3 = client(gate, signature_version="s3v4")
    file = file_of(gate.folder("boto3"), "large", 20 * MIB + 3)
    s3.upload_file(str(file), bucket, "large")
    back = gate.folder("boto3") / "back"
    s3.download_file(bucket, "large", str(back))
    assert digest(back.read_bytes()) == digest(file.read_bytes())
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "signed +"})
    data = content("signed", 30 * KIB)
    urllib.request.urlopen(urllib.request.Request(url, data=data, method="PUT"), timeout=60).close()
    gate.assert_holds(bucket, "signed +", data)


def a_post_form_is_taken_as_its_policy_says(gate, bucket):
    s3 = client(gate, signature_version="s3v4")
    form = s3.generate_presigned_post(
        bucket, "forms/${filename}", Fields={"success_action_status": "201", "acl": "private"},
        Conditions=[["starts-with", "$key", "forms/"], {"success_action_status": "201"},
                    {"acl": "private"}, ["content-length-range", 10, 1 * MIB]])
    data = content("form", 50 * KIB)
    status, body = post(form, "up load.bin", data)
    assert status == 201 and b"<PostResponse" in body, (status, body)
    gate.assert_holds(bucket, "forms/up load.bin", data)
    status, body = post(form, "small", b"123")
    assert status == 400 and b"EntityTooSmall" in body, (status, body)
    form["fields"]["acl"] = "public-read"
    status, body = post(form, "other", data)
    assert status == 403 and b"AccessDenied" in body, (status, body)
    assert gate.keys(bucket) == ["forms/up load.bin"]


def post(form, name, data):
    edge = "edge7d93b1"
    body = b"".join(
        f'--{edge}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in form["fields"].items())
    body += (f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
             "Content-Type: application/octet-stream\r\n\r\n").encode() + data
    body += f"\r\n--{edge}--\r\n".encode()
    request = urllib.request.Request(form["url"], data=body, headers={
        "Content-Type": f"multipart/form-data; boundary={edge}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def ranges_and_conditions_read_as_asked(gate, bucket):
    s3 = client(gate)
    data = content("ranges", 3 * MIB)
    etag = s3.put_object(Bucket=bucket, Key="r", Body=data)["ETag"]
    for asked, want in (("bytes=0-0", data[:1]), ("bytes=1000-", data[1000:]),
                        ("bytes=-77", data[-77:]), ("bytes=5-99999999", data[5:])):
        got = s3.get_object(Bucket=bucket, Key="r", Range=asked)
        assert got["Body"].read() == want, asked
    for condition in ({"IfNoneMatch": etag}, {"IfMatch": '"0"'}):
        try:
            s3.get_object(Bucket=bucket, Key="r", **condition)
            raise AssertionError(f"{condition} was not obeyed")
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            assert status == (304 if "IfNoneMatch" in condition else 412), error


CHECKS = [
    default_checksums_are_stored_and_checked,
    every_algorithm_is_taken_and_a_wrong_sum_is_refused,
    a_stream_without_length_is_uploaded_in_parts,
    an_upload_is_resumed_by_what_its_list_of_parts_says,
    odd_keys_go_through_every_call,
    conditional_writes_have_one_winner,
    versions_are_kept_listed_and_restored,
    tags_and_metadata_come_back,
    a_file_goes_by_the_transfer_manager_and_presigned_url,
    a_post_form_is_taken_as_its_policy_says,
    ranges_and_conditions_read_as_asked,
]

if __name__ == "__main__":
    main(CHECKS)
