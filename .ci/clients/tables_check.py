"""Table formats and the object stores below them: delta-rs, Iceberg, Lance, Arrow's
own S3 file system, polars, DataFusion, obstore.
"""

import concurrent.futures
import multiprocessing
import threading

import datafusion
import deltalake
import lance
import obstore
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
from datafusion.object_store import AmazonS3
from obstore.store import S3Store
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, ValidationException

from gate import MIB, ODD_KEYS, content, main


def options(gate, **extra):
    """What the Rust object_store calls its settings."""
    return {"aws_endpoint": gate.endpoint, "aws_access_key_id": gate.access,
            "aws_secret_access_key": gate.secret, "aws_region": gate.region,
            "aws_allow_http": "true", "aws_conditional_put": "etag", **extra}


def table_of(first, count):
    return pyarrow.table({"id": list(range(first, first + count)),
                          "text": [f"row {number}" for number in range(first, first + count)]})


def arrow_files(gate):
    return pyarrow.fs.S3FileSystem(
        access_key=gate.access, secret_key=gate.secret, region=gate.region,
        endpoint_override=gate.host, scheme="https" if gate.secure else "http",
        **({"tls_ca_file_path": gate.ca} if gate.ca else {}))


def delta_keeps_rows_and_history(gate, bucket):
    uri = f"s3://{bucket}/delta"
    deltalake.write_deltalake(uri, table_of(0, 1000), storage_options=options(gate))
    deltalake.write_deltalake(uri, table_of(1000, 500), mode="append",
                              storage_options=options(gate))
    table = deltalake.DeltaTable(uri, storage_options=options(gate))
    table.delete("id < 100")
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    ids = sorted(table.to_pyarrow_table()["id"].to_pylist())
    assert ids == list(range(100, 1500)), (len(ids), ids[:3])
    assert len(table.history()) >= 4


def append(uri, settings, writer, rounds):
    """One process that appends; every row is its own."""
    for number in range(rounds):
        rows = table_of(writer * 1_000_000 + number * 10, 10)
        deltalake.write_deltalake(uri, rows, mode="append", storage_options=settings)


def two_delta_writers_lose_nothing(gate, bucket):
    uri, rounds = f"s3://{bucket}/race", 8
    deltalake.write_deltalake(uri, table_of(9_000_000, 1), storage_options=options(gate))
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        for done in [pool.submit(append, uri, options(gate), writer, rounds) for writer in (1, 2)]:
            done.result(timeout=180)
    table = deltalake.DeltaTable(uri, storage_options=options(gate))
    want = {9_000_000} | {writer * 1_000_000 + n for writer in (1, 2) for n in range(rounds * 10)}
    ids = table.to_pyarrow_table()["id"].to_pylist()
    assert len(ids) == len(want) and set(ids) == want, (len(ids), len(want))
    assert table.version() == 2 * rounds, table.version()


def arrow_writes_and_reads_files(gate, bucket):
    files = arrow_files(gate)
    data = content("arrow", 23 * MIB + 1)
    with files.open_output_stream(f"{bucket}/a dir/streamed +.bin") as out:
        for start in range(0, len(data), 3 * MIB):
            out.write(data[start:start + 3 * MIB])
    gate.assert_holds(bucket, "a dir/streamed +.bin", data)
    with files.open_input_file(f"{bucket}/a dir/streamed +.bin") as source:
        source.seek(20_000_000)
        assert source.read(1000) == data[20_000_000:20_001_000]
    files.create_dir(f"{bucket}/made/below")
    files.copy_file(f"{bucket}/a dir/streamed +.bin", f"{bucket}/made/copy")
    files.move(f"{bucket}/made/copy", f"{bucket}/made/moved ü")
    gate.assert_holds(bucket, "made/moved ü", data)
    found = files.get_file_info(pyarrow.fs.FileSelector(bucket, recursive=True))
    assert f"{bucket}/made/moved ü" in [entry.path for entry in found], found
    files.delete_dir_contents(f"{bucket}/made")
    assert not [key for key in gate.keys(bucket, "made/") if not key.endswith("/")]


def arrow_datasets_are_partitioned(gate, bucket):
    rows = pyarrow.table({"part": [f"p {n % 3}" for n in range(3000)], "n": list(range(3000))})
    pyarrow.dataset.write_dataset(rows, f"{bucket}/set", filesystem=arrow_files(gate),
                                  format="parquet", partitioning=["part"],
                                  partitioning_flavor="hive")
    read = pyarrow.dataset.dataset(f"{bucket}/set", filesystem=arrow_files(gate),
                                   partitioning="hive")
    picked = read.to_table(filter=pyarrow.dataset.field("part") == "p 1")["n"].to_pylist()
    assert sorted(picked) == list(range(1, 3000, 3))


def polars_scans_what_it_wrote(gate, bucket):
    settings = options(gate)
    settings.pop("aws_conditional_put")
    frame = polars.DataFrame({"a": range(200_000), "b": [f"text {n % 97}" for n in range(200_000)]})
    frame.write_parquet(f"s3://{bucket}/polars/frame.parquet", storage_options=settings)
    scan = polars.scan_parquet(f"s3://{bucket}/polars/*.parquet", storage_options=settings)
    assert scan.filter(polars.col("a") >= 150_000).select(polars.len()).collect().item() == 50_000
    frame.lazy().sink_parquet(f"s3://{bucket}/polars/sunk.parquet", storage_options=settings)
    assert polars.read_parquet(f"s3://{bucket}/polars/sunk.parquet",
                               storage_options=settings).equals(frame)


def datafusion_asks_and_answers(gate, bucket):
    with arrow_files(gate).open_output_stream(f"{bucket}/fusion/t.parquet") as out:
        pyarrow.parquet.write_table(table_of(0, 10_000), out)
    context = datafusion.SessionContext()
    store = AmazonS3(bucket_name=bucket, region=gate.region, access_key_id=gate.access,
                     secret_access_key=gate.secret, endpoint=gate.endpoint,
                     allow_http=not gate.secure)
    context.register_object_store("s3://", store, None)
    context.register_parquet("t", f"s3://{bucket}/fusion/")
    answer = context.sql("SELECT count(*) AS n, max(id) AS m FROM t").to_pydict()
    assert answer == {"n": [10_000], "m": [9_999]}, answer


def obstore_does_every_call(gate, bucket):
    store = S3Store(bucket, config=options(gate), client_options={"allow_http": not gate.secure})
    data = content("obstore", 13 * MIB)
    obstore.put(store, "large", data, chunk_size=5 * MIB, max_concurrency=3)
    gate.assert_holds(bucket, "large", data)
    pieces = obstore.get_ranges(store, "large", starts=[0, 5_000_000], ends=[10, 5_000_100])
    assert bytes(pieces[0]) == data[:10] and bytes(pieces[1]) == data[5_000_000:5_000_100]
    for key in ODD_KEYS:
        obstore.put(store, f"odd/{key}", key.encode())
        assert bytes(obstore.get(store, f"odd/{key}").bytes()) == key.encode(), key
    listed = {entry["path"] for batch in obstore.list(store, "odd") for entry in batch}
    assert listed == {f"odd/{key}" for key in ODD_KEYS}, listed
    obstore.copy(store, "large", "copy")
    obstore.rename(store, "copy", "renamed")
    gate.assert_holds(bucket, "renamed", data)
    obstore.delete(store, [f"odd/{key}" for key in ODD_KEYS])
    assert not gate.keys(bucket, "odd/")


def obstore_creates_once_and_updates_by_etag(gate, bucket):
    store = S3Store(bucket, config=options(gate), client_options={"allow_http": not gate.secure})
    winners = []

    def create(index):
        try:
            obstore.put(store, "once", f"{index}".encode(), mode="create")
            winners.append(index)
        except obstore.exceptions.AlreadyExistsError:
            pass

    threads = [threading.Thread(target=create, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1, winners
    old = obstore.head(store, "once")
    obstore.put(store, "once", b"second", mode={"e_tag": old["e_tag"]})
    try:
        obstore.put(store, "once", b"third", mode={"e_tag": old["e_tag"]})
        raise AssertionError("an update by an old ETag was taken")
    except obstore.exceptions.PreconditionError:
        pass
    gate.assert_holds(bucket, "once", b"second")


def iceberg_commits_and_travels_back(gate, bucket):
    ids = []
    for implementation in ("pyiceberg.io.pyarrow.PyArrowFileIO", "pyiceberg.io.fsspec.FsspecFileIO"):
        name = implementation.rsplit(".", 1)[1].lower()
        catalog = SqlCatalog(name, **{
            "uri": f"sqlite:///{gate.scratch}/{name}.db", "warehouse": f"s3://{bucket}/{name}",
            "py-io-impl": implementation, "s3.endpoint": gate.endpoint,
            "s3.access-key-id": gate.access, "s3.secret-access-key": gate.secret,
            "s3.region": gate.region})
        catalog.create_namespace("n")
        table = catalog.create_table("n.t", schema=table_of(0, 1).schema)
        table.append(table_of(0, 100))
        first = table.current_snapshot().snapshot_id
        table.append(table_of(100, 100))
        stale = catalog.load_table("n.t")
        table.delete("id < 50")
        try:
            stale.overwrite(table_of(0, 1))
            raise AssertionError("a commit on an old snapshot was taken")
        except (CommitFailedException, ValidationException):
            pass
        ids = sorted(table.scan().to_arrow()["id"].to_pylist())
        assert ids == list(range(50, 200)), ids[:5]
        assert table.scan(snapshot_id=first).to_arrow().num_rows == 100
        catalog.drop_table("n.t")


def lance_versions_are_committed_once(gate, bucket):
    uri, settings = f"s3://{bucket}/lance/t.lance", options(gate)
    settings.pop("aws_conditional_put")
    lance.write_dataset(table_of(0, 500), uri, storage_options=settings)

    def add(writer):
        lance.write_dataset(table_of(1000 * writer, 100), uri, mode="append",
                            storage_options=settings)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(add, (1, 2, 3)))
    dataset = lance.dataset(uri, storage_options=settings)
    assert dataset.count_rows() == 800, dataset.count_rows()
    dataset.create_scalar_index("id", "BTREE")
    assert dataset.to_table(filter="id = 2050")["text"].to_pylist() == ["row 2050"]
    assert lance.dataset(uri, version=1, storage_options=settings).count_rows() == 500


CHECKS = [
    delta_keeps_rows_and_history,
    two_delta_writers_lose_nothing,
    arrow_writes_and_reads_files,
    arrow_datasets_are_partitioned,
    polars_scans_what_it_wrote,
    datafusion_asks_and_answers,
    obstore_does_every_call,
    obstore_creates_once_and_updates_by_etag,
    iceberg_commits_and_travels_back,
    lance_versions_are_committed_once,
]

if __name__ == "__main__":
    main(CHECKS)
