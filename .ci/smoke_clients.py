"""aws-cli, rclone and curl, as people use them, on the shared network."""

import os
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from smoke_harness import (
    KIB, MIB, Skip, assert_same_tree, content, digest, file_of, make_odd_tree, write,
)

# 100 MiB then has 13 parts. Signature V2 is what the client would presign with by default.
AWS_CONFIG = """[default]
region = {region}
cli_pager =
s3 =
    addressing_style = path
    signature_version = s3v4
    multipart_threshold = 8MB
    multipart_chunksize = 8MB
"""


def aws(network, *arguments, **options):
    program = Path(sys.executable).parent / "aws"
    if not program.exists():
        raise Skip(f"aws-cli is not installed beside {sys.executable}")
    config = network.context.scratch / "aws-config"
    config.write_text(AWS_CONFIG.format(region=network.endpoint["region"]))
    env = {
        "AWS_CONFIG_FILE": str(config),
        "AWS_ACCESS_KEY_ID": network.endpoint["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": network.endpoint["secret_access_key"],
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }
    return network.context.run(program, "--endpoint-url", network.url(), *arguments,
                               env=env, **options)


def rclone(network, provider, *arguments, **options):
    program = shutil.which("rclone")
    if program is None:
        raise Skip("rclone is not installed")
    remote = {
        "TYPE": "s3",
        "PROVIDER": provider,
        "ENDPOINT": network.url(),
        "REGION": network.endpoint["region"],
        "ACCESS_KEY_ID": network.endpoint["access_key_id"],
        "SECRET_ACCESS_KEY": network.endpoint["secret_access_key"],
        "FORCE_PATH_STYLE": "true",
        "UPLOAD_CUTOFF": "16M",
        "CHUNK_SIZE": "8M",
    }
    env = {f"RCLONE_CONFIG_STRATOS_{name}": value for name, value in remote.items()}
    env["RCLONE_CONFIG"] = str(network.context.scratch / "rclone.conf")
    return network.context.run(program, "--retries", "1", "--low-level-retries", "1",
                               *arguments, env=env, **options)


def curl(network, *arguments, **options):
    program = shutil.which("curl")
    if program is None:
        raise Skip("curl is not installed")
    return network.context.run(program, "--silent", "--show-error", "--max-time", "120",
                               *arguments, **options)


def odd_tree(network):
    folder = network.context.scratch / "odd"
    return folder if folder.exists() else make_odd_tree(folder)


def aws_copies_a_file_both_ways(network):
    aws(network, "s3", "mb", "s3://aws-copy")
    folder = network.context.folder("aws-copy")
    sent = file_of(folder, "sent file.bin", 300 * KIB + 7)
    aws(network, "s3", "cp", sent, "s3://aws-copy/a folder/sent file.bin")
    aws(network, "s3", "cp", "s3://aws-copy/a folder/sent file.bin", folder / "back.bin")
    assert (folder / "back.bin").read_bytes() == sent.read_bytes()
    listed = aws(network, "s3", "ls", "s3://aws-copy/", "--recursive").stdout
    assert "a folder/sent file.bin" in listed, listed
    refused = aws(network, "s3", "rb", "s3://aws-copy", expect=1)
    assert "BucketNotEmpty" in refused.stderr, refused.stderr
    aws(network, "s3", "rb", "s3://aws-copy", "--force")


def aws_syncs_a_tree_of_odd_names_both_ways(network):
    source = odd_tree(network)
    aws(network, "s3", "mb", "s3://aws-sync")
    aws(network, "s3", "sync", source, "s3://aws-sync/tree", "--no-progress")
    again = aws(network, "s3", "sync", source, "s3://aws-sync/tree", "--no-progress").stdout
    # Sync compares size and time, and finds nothing to do.
    assert "upload:" not in again, again
    back = network.context.folder("aws-back")
    aws(network, "s3", "sync", "s3://aws-sync/tree", back, "--no-progress")
    return f"{assert_same_tree(source, back)} files"


def aws_uploads_100_mib_in_parts_of_8(network):
    sent = odd_tree(network) / "sizes" / f"{100 * MIB}.bin"
    aws(network, "s3", "mb", "s3://aws-parts")
    aws(network, "s3", "cp", sent, "s3://aws-parts/big", "--no-progress")
    etag = aws(network, "s3api", "head-object", "--bucket", "aws-parts", "--key", "big",
               "--query", "ETag", "--output", "text").stdout.strip()
    assert etag.endswith('-13"'), etag
    back = network.context.folder("aws-parts") / "back"
    aws(network, "s3", "cp", "s3://aws-parts/big", back, "--no-progress")
    assert digest(back.read_bytes()) == digest(sent.read_bytes())


def aws_moves_within_and_back(network):
    folder = network.context.folder("aws-move")
    aws(network, "s3", "mb", "s3://aws-move")
    sent = file_of(folder, "moved", 20 * MIB + 1)
    wanted = digest(sent.read_bytes())
    aws(network, "s3", "mv", sent, "s3://aws-move/first", "--no-progress")
    assert not sent.exists()
    # Server-side: CopyObject or UploadPartCopy, then DeleteObject.
    aws(network, "s3", "mv", "s3://aws-move/first", "s3://aws-move/second", "--no-progress")
    aws(network, "s3", "mv", "s3://aws-move/second", folder / "back", "--no-progress")
    assert digest((folder / "back").read_bytes()) == wanted
    assert aws(network, "s3", "ls", "s3://aws-move/", expect=None).stdout == ""


def rclone_syncs_and_checks_both_ways(network):
    source = odd_tree(network)
    counts = []
    for provider in ("Other", "Minio"):
        bucket = f"stratos:rclone-{provider.lower()}"
        rclone(network, provider, "mkdir", bucket)
        rclone(network, provider, "sync", source, bucket)
        rclone(network, provider, "check", source, bucket)
        rclone(network, provider, "check", "--download", source, bucket)
        back = network.context.folder(f"rclone-{provider}")
        rclone(network, provider, "sync", bucket, back)
        counts.append(assert_same_tree(source, back))
    return f"{counts[0]} files, twice"


def rclone_updates_times_and_removes_without_losing_bytes(network):
    folder = network.context.folder("rclone-update")
    for name in ("kept", "touched", "removed"):
        file_of(folder, name, 200 * KIB + len(name))
    # Past the cutoff, so that the copy onto itself concerns a multipart object.
    file_of(folder, "large touched", 20 * MIB)
    rclone(network, "Other", "mkdir", "stratos:rclone-update")
    rclone(network, "Other", "sync", folder, "stratos:rclone-update")
    (folder / "removed").unlink()
    write(folder / "added", b"new")
    for name in ("touched", "large touched"):
        os.utime(folder / name, (1_700_000_000, 1_700_000_000))
    rclone(network, "Other", "sync", folder, "stratos:rclone-update")
    rclone(network, "Other", "check", "--download", folder, "stratos:rclone-update")
    times = rclone(network, "Other", "lsf", "--format", "tp", "stratos:rclone-update",
                   "--use-server-modtime=false").stdout
    assert times.count("2023-11-14") == 2, times
    rclone(network, "Other", "purge", "stratos:rclone-update")


def presigned_by_aws_is_fetched_by_curl(network):
    data = content("presigned", 70 * KIB)
    s3 = network.s3()
    s3.create_bucket(Bucket="presigned-aws")
    s3.put_object(Bucket="presigned-aws", Key="a key+with odd%.txt", Body=data)
    url = aws(network, "s3", "presign", "s3://presigned-aws/a key+with odd%.txt",
              "--expires-in", "60").stdout.strip()
    back = network.context.folder("presigned-aws") / "back"
    curl(network, "--fail", "-o", back, url)
    assert back.read_bytes() == data
    changed = url[:-1] + ("0" if url[-1] != "0" else "1")
    status = curl(network, "-o", "/dev/null", "-w", "%{http_code}", changed).stdout
    assert status == "403", status


def presigned_by_stratos_is_fetched_and_sent_by_curl(network):
    s3 = network.s3()
    s3.create_bucket(Bucket="presigned-own")
    folder = network.context.folder("presigned-own")
    sent = file_of(folder, "sent", 90 * KIB)

    def presign(method):
        done = network.context.stratos(
            "presign", "s3://presigned-own/päth/a b+c", "--method", method,
            "--expires", "10m", "--data", network.dir)
        url = done.stdout.strip()
        assert urlsplit(url).netloc == urlsplit(network.url()).netloc, url
        return url

    curl(network, "--fail", "-T", sent, presign("PUT"))
    curl(network, "--fail", "-o", folder / "back", presign("GET"))
    assert (folder / "back").read_bytes() == sent.read_bytes()
    curl(network, "--fail", "-X", "DELETE", presign("DELETE"))
    status = curl(network, "-o", "/dev/null", "-w", "%{http_code}", presign("GET")).stdout
    assert status == "404", status


def presigned_by_boto3_is_sent_by_curl(network):
    s3 = network.s3()
    s3.create_bucket(Bucket="presigned-boto")
    folder = network.context.folder("presigned-boto")
    sent = file_of(folder, "sent", 5 * MIB + 5)
    url = s3.generate_presigned_url("put_object", ExpiresIn=60,
                                    Params={"Bucket": "presigned-boto", "Key": "k"})
    curl(network, "--fail", "-T", sent, url)
    assert s3.get_object(Bucket="presigned-boto", Key="k")["Body"].read() == sent.read_bytes()
    # The URL is for one method and one key.
    assert curl(network, "-o", "/dev/null", "-w", "%{http_code}", url).stdout == "403"
    other = url.replace("/k?", "/other?")
    status = curl(network, "-o", "/dev/null", "-w", "%{http_code}", "-T", sent, other).stdout
    assert status == "403", status


def curl_signs_for_itself(network):
    s3 = network.s3()
    s3.create_bucket(Bucket="curl")
    sent = file_of(network.context.folder("curl"), "sent", 64 * KIB)
    key = network.endpoint
    signed = ["--fail", "--aws-sigv4", f"aws:amz:{key['region']}:s3",
              "--user", f"{key['access_key_id']}:{key['secret_access_key']}"]
    curl(network, *signed, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-T", sent,
         network.url("/curl/sent"))
    assert s3.get_object(Bucket="curl", Key="sent")["Body"].read() == sent.read_bytes()


CHECKS = [
    aws_copies_a_file_both_ways,
    aws_syncs_a_tree_of_odd_names_both_ways,
    aws_uploads_100_mib_in_parts_of_8,
    aws_moves_within_and_back,
    rclone_syncs_and_checks_both_ways,
    rclone_updates_times_and_removes_without_losing_bytes,
    presigned_by_aws_is_fetched_by_curl,
    presigned_by_stratos_is_fetched_and_sent_by_curl,
    presigned_by_boto3_is_sent_by_curl,
    curl_signs_for_itself,
]
