"""rclone: sync and check by hash, times, server-side copies, pipes, versions, ranges."""

import os

from gate import MIB, assert_same_tree, content, file_of, main, program, tree_of, wait_until


def rclone(gate, *arguments, provider="Other", options=(), **run):
    remote = {
        "TYPE": "s3", "PROVIDER": provider, "ENDPOINT": gate.endpoint, "REGION": gate.region,
        "ACCESS_KEY_ID": gate.access, "SECRET_ACCESS_KEY": gate.secret,
        "FORCE_PATH_STYLE": "true", "UPLOAD_CUTOFF": "12M", "CHUNK_SIZE": "5M",
        "COPY_CUTOFF": "12M", **dict(options),
    }
    env = {f"RCLONE_CONFIG_S_{name}": value for name, value in remote.items()}
    env["RCLONE_CONFIG"] = str(gate.scratch / "rclone.conf")
    extra = ["--ca-cert", gate.ca] if gate.ca else []
    return gate.run(program("rclone"), *extra, "--retries", "1", "--low-level-retries", "1",
                    *arguments, env=env, **run)


def a_tree_is_synced_and_checked_both_ways(gate, bucket):
    source = tree_of(gate.folder("tree"))
    # What it sends to AWS itself it cannot send without TLS.
    providers = ("Other", "Minio", "Ceph", *(("AWS",) if gate.secure else ()))
    for provider in providers:
        rclone(gate, "sync", source, f"s:{bucket}/{provider}", provider=provider)
        rclone(gate, "check", source, f"s:{bucket}/{provider}", provider=provider)
        rclone(gate, "check", "--download", source, f"s:{bucket}/{provider}", provider=provider)
    back = gate.folder("back")
    rclone(gate, "sync", f"s:{bucket}/Ceph", back)
    assert_same_tree(source, back)


def times_change_without_the_bytes(gate, bucket):
    folder = gate.folder("times")
    names = [file_of(folder, name, size).name for name, size in
             (("small", 7000), ("in parts +", 14 * MIB))]
    rclone(gate, "sync", folder, f"s:{bucket}")
    for name in names:
        os.utime(folder / name, (1_700_000_000, 1_700_000_000))
    rclone(gate, "sync", folder, f"s:{bucket}")
    rclone(gate, "check", "--download", folder, f"s:{bucket}")
    listed = rclone(gate, "lsf", "--format", "tp", f"s:{bucket}").out
    assert listed.count("2023-11-14") == 2, listed


def copies_are_made_by_the_server(gate, bucket):
    folder = gate.folder("copies")
    file_of(folder, "small ü", 9000)
    file_of(folder, "in parts", 21 * MIB)
    rclone(gate, "copy", folder, f"s:{bucket}/from")
    rclone(gate, "copy", f"s:{bucket}/from", f"s:{bucket}/to")
    rclone(gate, "move", f"s:{bucket}/to", f"s:{bucket}/moved")
    rclone(gate, "check", "--download", folder, f"s:{bucket}/moved")
    assert not gate.keys(bucket, "to/")


def a_pipe_of_unknown_length_is_stored(gate, bucket):
    data = content("pipe", 23 * MIB + 7)
    rclone(gate, "rcat", f"s:{bucket}/piped", data=data)
    gate.assert_holds(bucket, "piped", data)
    piece = rclone(gate, "cat", "--offset", "1000000", "--count", "5000", f"s:{bucket}/piped")
    assert piece.stdout == data[1_000_000:1_005_000]


def old_versions_are_seen_and_cleaned_up(gate, bucket):
    rclone(gate, "backend", "versioning", f"s:{bucket}", "Enabled")
    for number in range(3):
        rclone(gate, "rcat", f"s:{bucket}/v.txt", data=f"body {number}".encode())
    listed = rclone(gate, "lsf", f"s:{bucket}", options={"VERSIONS": "true"}).out.split()
    assert len(listed) == 3, listed
    rclone(gate, "backend", "cleanup-hidden", f"s:{bucket}")
    listed = rclone(gate, "lsf", f"s:{bucket}", options={"VERSIONS": "true"}).out.split()
    assert listed == ["v.txt"], listed
    gate.assert_holds(bucket, "v.txt", b"body 2")


def an_abandoned_upload_is_cleaned_up(gate, bucket):
    gate.must("POST", bucket, "left", query={"uploads": ""})
    listed = rclone(gate, "backend", "list-multipart-uploads", f"s:{bucket}").out
    assert '"left"' in listed, listed

    def cleaned():
        rclone(gate, "backend", "cleanup", "-o", "max-age=1s", f"s:{bucket}")
        return gate.uploads(bucket) == []

    wait_until(20, "end of the upload", cleaned)


def an_encrypted_remote_on_top_keeps_its_secrets(gate, bucket):
    folder = tree_of(gate.folder("crypt"))
    secret = rclone(gate, "obscure", "a pass phrase").out.strip()
    remote = f":crypt,remote='s:{bucket}/c',password='{secret}':"
    rclone(gate, "copy", folder, remote)
    rclone(gate, "cryptcheck", folder, remote)
    back = gate.folder("crypt-back")
    rclone(gate, "copy", remote, back)
    assert_same_tree(folder, back)
    assert not any("plain" in key for key in gate.keys(bucket))


CHECKS = [
    a_tree_is_synced_and_checked_both_ways,
    times_change_without_the_bytes,
    copies_are_made_by_the_server,
    a_pipe_of_unknown_length_is_stored,
    old_versions_are_seen_and_cleaned_up,
    an_abandoned_upload_is_cleaned_up,
    an_encrypted_remote_on_top_keeps_its_secrets,
]

if __name__ == "__main__":
    main(CHECKS)
