"""Stores of arrays, and OpenDAL: tensorstore, icechunk, zarr, GDAL's /vsis3/."""

import threading

import icechunk
import numpy
import opendal
import rasterio
import tensorstore
import zarr

from gate import MIB, ODD_KEYS, Skip, content, main


def tensorstore_writes_and_reads(gate, bucket):
    if gate.secure:
        raise Skip("its TLS takes no certificate of ours")
    spec = {"driver": "zarr", "kvstore": {
        "driver": "s3", "bucket": bucket, "path": "tensor/", "endpoint": gate.endpoint,
        "aws_region": gate.region, "aws_credentials": {"type": "environment"}}}
    data = numpy.arange(400 * 300, dtype="int32").reshape(400, 300)
    array = tensorstore.open(spec, create=True, dtype=tensorstore.int32, shape=data.shape,
                             chunk_layout=tensorstore.ChunkLayout(chunk_shape=[64, 64])).result()
    array.write(data).result()
    # Chunks are updated under the condition that nobody else changed them.
    array[10:20, 5:300].write(7).result()
    data[10:20, 5:300] = 7
    again = tensorstore.open(spec).result().read().result()
    assert (again == data).all()


def icechunk_commits_have_one_winner(gate, bucket):
    storage = icechunk.s3_storage(
        bucket=bucket, prefix="ice", endpoint_url=gate.endpoint, region=gate.region,
        access_key_id=gate.access, secret_access_key=gate.secret, force_path_style=True,
        allow_http=not gate.secure)
    repository = icechunk.Repository.create(storage)
    session = repository.writable_session("main")
    root = zarr.group(session.store)
    array = root.create_array("a", shape=(100,), chunks=(10,), dtype="int64")
    array[:] = numpy.arange(100)
    session.commit("first")
    rivals = [repository.writable_session("main") for _ in range(2)]
    for number, rival in enumerate(rivals):
        zarr.open_group(rival.store)["a"][:] = number + 1
    outcomes = []

    def commit(number, rival):
        try:
            rival.commit(f"rival {number}")
            outcomes.append(number)
        except icechunk.ConflictError:
            pass

    threads = [threading.Thread(target=commit, args=pair) for pair in enumerate(rivals)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 1, outcomes
    seen = zarr.open_group(repository.readonly_session("main").store, mode="r")["a"][:]
    assert (seen == outcomes[0] + 1).all()


def gdal_writes_and_reads_rasters(gate, bucket):
    pixels = numpy.frombuffer(content("pixels", 3 * 1200 * 1000), dtype="uint8")
    pixels = pixels.reshape(3, 1200, 1000)
    with rasterio.Env(AWS_S3_ENDPOINT=gate.host, AWS_HTTPS="YES" if gate.secure else "NO", AWS_VIRTUAL_HOSTING=False,
                      CPL_VSIL_USE_TEMP_FILE_FOR_RANDOM_WRITE="YES", VSIS3_CHUNK_SIZE=5):
        with rasterio.open(f"/vsis3/{bucket}/maps/a map.tif", "w", driver="GTiff", width=1000,
                           height=1200, count=3, dtype="uint8", tiled=True) as out:
            out.write(pixels)
        with rasterio.open(f"/vsis3/{bucket}/maps/a map.tif") as source:
            window = rasterio.windows.Window(500, 600, 100, 50)
            assert (source.read(2, window=window) == pixels[1, 600:650, 500:600]).all()
            assert (source.read() == pixels).all()
    assert gate.keys(bucket) == ["maps/a map.tif"]


def opendal_does_every_call(gate, bucket):
    store = opendal.Operator("s3", bucket=bucket, endpoint=gate.endpoint, region=gate.region,
                             access_key_id=gate.access, secret_access_key=gate.secret)
    for key in ODD_KEYS:
        store.write(f"odd/{key}", key.encode())
        assert bytes(store.read(f"odd/{key}")) == key.encode(), key
    found = sorted(entry.path for entry in store.scan("odd/") if not entry.path.endswith("/"))
    assert found == sorted(f"odd/{key}" for key in ODD_KEYS), found
    data = content("opendal", 12 * MIB)
    with store.open("streamed", "wb") as out:
        for start in range(0, len(data), MIB):
            out.write(data[start:start + MIB])
    gate.assert_holds(bucket, "streamed", data)
    store.copy("streamed", "copied +")
    gate.assert_holds(bucket, "copied +", data)
    store.create_dir("made/")
    assert store.stat("made/").mode.is_dir()
    store.remove_all("odd/")
    assert not gate.keys(bucket, "odd/")


CHECKS = [
    tensorstore_writes_and_reads,
    icechunk_commits_have_one_winner,
    gdal_writes_and_reads_rasters,
    opendal_does_every_call,
]

if __name__ == "__main__":
    main(CHECKS)
