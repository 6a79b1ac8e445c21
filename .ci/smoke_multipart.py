"""Multipart uploads by boto3, on the shared network."""

import hashlib

from smoke_harness import MIB, content
from smoke_s3 import absent, body, refused


def multipart_uploads_complete_list_and_abort(network):
    s3 = network.s3()
    bucket = {"Bucket": "multipart"}
    s3.create_bucket(**bucket)
    target = {**bucket, "Key": "assembled"}
    upload = {**target, "UploadId": s3.create_multipart_upload(**target)["UploadId"]}
    parts = [content(f"part {number}", size) for number, size in
             enumerate((5 * MIB, 6 * MIB, 12345), start=1)]
    tags = {}
    for number in (3, 1, 2):  # In any order.
        put = s3.upload_part(**upload, PartNumber=number, Body=parts[number - 1])
        tags[number] = put["ETag"]
    s3.upload_part(**upload, PartNumber=4, Body=b"never named in complete")
    again = s3.upload_part(**upload, PartNumber=2, Body=parts[1])
    assert again["ETag"] == tags[2]
    listed = s3.list_parts(**upload)["Parts"]
    assert [part["PartNumber"] for part in listed] == [1, 2, 3, 4]
    assert [part["Size"] for part in listed[:3]] == [len(part) for part in parts]
    open_uploads = s3.list_multipart_uploads(**bucket)["Uploads"]
    assert [found["Key"] for found in open_uploads] == ["assembled"]
    absent(s3, "multipart", "assembled")
    listing = {"Parts": [{"PartNumber": n, "ETag": tags[n]} for n in (1, 2, 3)]}
    done = s3.complete_multipart_upload(**upload, MultipartUpload=listing)
    md5s = b"".join(hashlib.md5(part).digest() for part in parts)
    assert done["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-3"', done["ETag"]
    assert body(s3, "multipart", "assembled") == b"".join(parts)
    assert not s3.list_multipart_uploads(**bucket).get("Uploads")
    assert s3.complete_multipart_upload(**upload, MultipartUpload=listing)["ETag"] == done["ETag"]

    target["Key"] = "aborted"
    upload = {**target, "UploadId": s3.create_multipart_upload(**target)["UploadId"]}
    s3.upload_part(**upload, PartNumber=1, Body=parts[0])
    s3.abort_multipart_upload(**upload)
    with refused("NoSuchUpload", 404):
        s3.list_parts(**upload)
    with refused("NoSuchUpload", 404):
        s3.upload_part(**upload, PartNumber=2, Body=b"late")
    absent(s3, "multipart", "aborted")


def parts_are_copied_from_objects(network):
    s3 = network.s3()
    bucket = {"Bucket": "part-copy"}
    s3.create_bucket(**bucket)
    data = content("part copy", 11 * MIB)
    s3.put_object(**bucket, Key="source", Body=data)
    target = {**bucket, "Key": "target"}
    upload = {**target, "UploadId": s3.create_multipart_upload(**target)["UploadId"]}
    parts = []
    for number, (first, last) in enumerate([(MIB, 7 * MIB - 1), (0, 99)], start=1):
        copied = s3.upload_part_copy(**upload, PartNumber=number, CopySource="part-copy/source",
                                     CopySourceRange=f"bytes={first}-{last}")
        parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert body(s3, "part-copy", "target") == data[MIB:7 * MIB] + data[:100]


def wrong_multipart_lists_are_refused(network):
    s3 = network.s3()
    target = {"Bucket": "multipart-wrong", "Key": "k"}
    s3.create_bucket(Bucket="multipart-wrong")
    upload = {**target, "UploadId": s3.create_multipart_upload(**target)["UploadId"]}
    sizes = [5 * MIB, 5 * MIB, 100, 100]
    tags = [s3.upload_part(**upload, PartNumber=n, Body=bytes(size))["ETag"]
            for n, size in enumerate(sizes, start=1)]
    one, two, three, four = ({"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, start=1))
    fake = {"PartNumber": 2, "ETag": '"00000000000000000000000000000000"'}
    for parts, code in [([two, one], "InvalidPartOrder"), ([one, fake], "InvalidPart"),
                        ([three, four], "EntityTooSmall")]:
        with refused(code, 400):
            s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    absent(s3, "multipart-wrong", "k")


CHECKS = [
    multipart_uploads_complete_list_and_abort,
    parts_are_copied_from_objects,
    wrong_multipart_lists_are_refused,
]
