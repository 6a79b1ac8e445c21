"""Applications on top of boto3: django-storages, borgstore, libcloud, barman, duplicity,
s4cmd, a git remote.
"""

import sys

import django
from django.conf import settings

from gate import MIB, Skip, assert_same_tree, content, file_of, main, program, tree_of


def django_storages_keeps_files(gate, bucket):
    if not settings.configured:
        settings.configure(USE_TZ=True)
        django.setup()
    from django.core.files.base import ContentFile
    from storages.backends.s3 import S3Storage
    storage = S3Storage(bucket_name=bucket, endpoint_url=gate.endpoint, region_name=gate.region,
                        access_key=gate.access, secret_key=gate.secret, addressing_style="path",
                        file_overwrite=False, verify=gate.ca)
    data = content("django", 11 * MIB)
    name = storage.save("media/a file +.bin", ContentFile(data))
    gate.assert_holds(bucket, name, data)
    second = storage.save("media/a file +.bin", ContentFile(b"other"))
    assert second != name and storage.exists(second)
    with storage.open("media/written", "wb") as out:
        out.write(data)
    assert storage.size("media/written") == len(data)
    assert len(storage.listdir("media")[1]) == 3
    storage.delete(second)


def borgstore_keeps_items(gate, bucket):
    from borgstore.store import Store
    scheme, host = gate.endpoint.split("://")
    store = Store(f"s3:{gate.access}:{gate.secret}@{scheme}://{host}/{bucket}/borg",
                  config={"data/": {"levels": [2]}})
    store.create()
    with store:
        for number in range(20):
            store.store(f"data/{number:064x}", content(str(number), 30_000))
        assert store.load(f"data/{7:064x}") == content("7", 30_000)
        assert store.load(f"data/{7:064x}", offset=100, size=50) == content("7", 30_000)[100:150]
        store.delete(f"data/{7:064x}")
        assert len(list(store.list("data"))) == 19
    store.destroy()


def libcloud_streams_objects(gate, bucket):
    from libcloud.storage.drivers.rgw import S3RGWStorageDriver as Driver
    if gate.secure:
        raise Skip("its driver takes the certificate from the process's environment only")
    host, port = gate.host.rsplit(":", 1)
    driver = Driver(gate.access, gate.secret, secure=gate.secure, host=host, port=int(port),
                    region=gate.region, signature_version="4")
    container = driver.get_container(bucket)
    data = content("libcloud", 12 * MIB)
    driver.upload_object_via_stream(
        iter([data[:7 * MIB], data[7 * MIB:]]), container, "a stream")
    gate.assert_holds(bucket, "a stream", data)
    found = driver.get_object(bucket, "a stream")
    assert b"".join(driver.download_object_as_stream(found)) == data
    found.delete()


def barman_archives_and_restores_a_log(gate, bucket):
    log = file_of(gate.folder("wal"), "000000010000000000000001", 16 * MIB)
    place = f"s3://{bucket}/barman"
    common = ["--endpoint-url", gate.endpoint]
    gate.run(program("barman-cloud-wal-archive"), *common, "--gzip", place, "server", log)
    back = gate.folder("wal") / "back"
    gate.run(program("barman-cloud-wal-restore"), *common, place, "server", log.name, back)
    assert back.read_bytes() == log.read_bytes()


def duplicity_backs_up_and_restores(gate, bucket):
    source = tree_of(gate.folder("source"))
    duplicity = [program("duplicity")]
    options = ["--no-encryption", f"--s3-endpoint-url={gate.endpoint}",
               f"--s3-region-name={gate.region}", f"--archive-dir={gate.folder('archive')}"]
    target = f"boto3+s3://{bucket}/duplicity"
    gate.run(*duplicity, "full", *options, source, target)
    file_of(source, "added", 40_000)
    gate.run(*duplicity, "incremental", *options, source, target)
    back = gate.scratch / "back"
    gate.run(*duplicity, "restore", *options, target, back)
    assert_same_tree(source, back)


def s4cmd_syncs(gate, bucket):
    source, back = gate.folder("s4"), gate.folder("s4-back")
    for name, size in (("small", 1000), ("below/large +", 21 * MIB)):
        file_of(source, name, size)
    s4cmd = [sys.executable, program("s4cmd"), "--endpoint-url", gate.endpoint,
             "--multipart-split-size", str(6 * MIB), "--retry", "1"]
    env = {"S3_ACCESS_KEY": gate.access, "S3_SECRET_KEY": gate.secret}
    gate.run(*s4cmd, "dsync", source, f"s3://{bucket}/s4", env=env)
    gate.assert_holds(bucket, "s4/below/large +", content("below/large +", 21 * MIB))
    gate.run(*s4cmd, "dsync", f"s3://{bucket}/s4", back, env=env)
    assert_same_tree(source, back)


def git_pushes_and_clones(gate, bucket):
    git = program("git")
    work = gate.folder("git")
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
           "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org"}
    gate.run(git, "init", "-q", "-b", "main", work)
    file_of(work, "file", 300_000)
    gate.run(git, "-C", work, "add", ".")
    gate.run(git, "-C", work, "commit", "-q", "-m", "first", env=who)
    gate.run(git, "-C", work, "push", f"s3://{bucket}/repository", "main", env=who)
    gate.run(git, "clone", "-q", f"s3://{bucket}/repository", gate.scratch / "clone", env=who)
    assert (gate.scratch / "clone" / "file").read_bytes() == (work / "file").read_bytes()


CHECKS = [
    django_storages_keeps_files,
    borgstore_keeps_items,
    libcloud_streams_objects,
    barman_archives_and_restores_a_log,
    duplicity_backs_up_and_restores,
    s4cmd_syncs,
    git_pushes_and_clones,
]

if __name__ == "__main__":
    main(CHECKS)
