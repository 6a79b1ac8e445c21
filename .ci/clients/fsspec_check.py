"""Python file systems: s3fs, smart_open, cloudpathlib, aioboto3."""

import asyncio

import aioboto3
import boto3
import s3fs
import smart_open
from cloudpathlib import S3Client

from gate import MIB, assert_same_tree, content, file_of, main, tree_of


def files(gate):
    extra = {"verify": gate.ca} if gate.ca else {}
    return s3fs.S3FileSystem(key=gate.access, secret=gate.secret, endpoint_url=gate.endpoint,
                             client_kwargs={"region_name": gate.region, **extra},
                             skip_instance_cache=True)


def s3fs_copies_trees(gate, bucket):
    fs, source, back = files(gate), tree_of(gate.folder("tree")), gate.folder("back")
    fs.put(f"{source}/", f"{bucket}/tree/", recursive=True)
    fs.get(f"{bucket}/tree/", f"{back}/", recursive=True)
    assert_same_tree(source, back)
    assert fs.du(f"{bucket}/tree") == sum(p.stat().st_size for p in source.rglob("*") if p.is_file())
    fs.copy(f"{bucket}/tree/sizes/", f"{bucket}/moved/", recursive=True)
    gate.assert_holds(bucket, "moved/65537.bin", (source / "sizes/65537.bin").read_bytes())
    fs.rm(f"{bucket}/tree", recursive=True)
    assert not fs.exists(f"{bucket}/tree")


def s3fs_writes_in_parts_reads_pieces_and_appends(gate, bucket):
    fs, data = files(gate), content("s3fs", 13 * MIB)
    with fs.open(f"{bucket}/a file +", "wb", block_size=5 * MIB) as out:
        out.write(data)
    gate.assert_holds(bucket, "a file +", data)
    with fs.open(f"{bucket}/a file +", "rb") as source:
        source.seek(-1000, 2)
        assert source.read() == data[-1000:]
    with fs.open(f"{bucket}/a file +", "ab") as out:
        out.write(b"more")
    gate.assert_holds(bucket, "a file +", data + b"more")
    fs.setxattr(f"{bucket}/a file +", copy_kwargs={}, colour="blue")
    assert fs.metadata(f"{bucket}/a file +", refresh=True) == {"colour": "blue"}
    gate.assert_holds(bucket, "a file +", data + b"more")


def smart_open_streams(gate, bucket):
    client = boto3.client("s3", endpoint_url=gate.endpoint, verify=gate.ca)
    data = content("smart", 11 * MIB)
    with smart_open.open(f"s3://{bucket}/smart.gz", "wb", transport_params={
            "client": client, "min_part_size": 5 * MIB}) as out:
        out.write(data)
    with smart_open.open(f"s3://{bucket}/smart.gz", "rb", transport_params={"client": client}) as got:
        assert got.read() == data
    assert len(gate.get(bucket, "smart.gz")) > 1000 and not gate.uploads(bucket)


def cloudpathlib_walks(gate, bucket):
    client = S3Client(endpoint_url=gate.endpoint, aws_access_key_id=gate.access,
                      aws_secret_access_key=gate.secret,
                      local_cache_dir=gate.folder("cloudpath"))
    root = client.CloudPath(f"s3://{bucket}")
    (root / "a dir" / "ü.txt").write_text("text")
    sent = file_of(gate.folder("cloud"), "sent", 9 * MIB)
    (root / "a dir" / "sent").upload_from(sent)
    assert sorted(p.name for p in (root / "a dir").iterdir()) == ["sent", "ü.txt"]
    (root / "a dir" / "sent").rename(root / "renamed")
    gate.assert_holds(bucket, "renamed", sent.read_bytes())
    (root / "a dir").rmtree()
    assert gate.keys(bucket) == ["renamed"]


def aioboto3_runs_many_at_once(gate, bucket):
    async def all_of_it():
        session = aioboto3.Session()
        async with session.client("s3", endpoint_url=gate.endpoint, verify=gate.ca) as s3:
            async def one(number):
                data = content(f"aio {number}", 40_000 + number)
                await s3.put_object(Bucket=bucket, Key=f"aio {number}", Body=data)
                got = await s3.get_object(Bucket=bucket, Key=f"aio {number}")
                assert await got["Body"].read() == data
            await asyncio.gather(*(one(number) for number in range(40)))
            sent = file_of(gate.folder("aio"), "sent", 17 * MIB)
            await s3.upload_file(str(sent), bucket, "aio sent")
            gate.assert_holds(bucket, "aio sent", sent.read_bytes())

    asyncio.run(all_of_it())
    assert len(gate.keys(bucket)) == 41


CHECKS = [
    s3fs_copies_trees,
    s3fs_writes_in_parts_reads_pieces_and_appends,
    smart_open_streams,
    cloudpathlib_walks,
    aioboto3_runs_many_at_once,
]

if __name__ == "__main__":
    main(CHECKS)
