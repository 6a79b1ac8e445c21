"""restic: backup, check of all data, restore, forget and prune, two hosts at once."""

import threading

from gate import MIB, assert_same_tree, file_of, main, program, tree_of


def restic(gate, bucket, *arguments, **options):
    env = {"RESTIC_REPOSITORY": f"s3:{gate.endpoint}/{bucket}/repository",
           "RESTIC_PASSWORD": "a pass phrase"}
    extra = ["--cacert", gate.ca] if gate.ca else []
    return gate.run(program("restic"), *extra, "--no-cache", *arguments, env=env, **options)


def a_backup_is_checked_and_restored(gate, bucket):
    source = tree_of(gate.folder("source"))
    restic(gate, bucket, "init")
    restic(gate, bucket, "backup", source)
    restic(gate, bucket, "check", "--read-data")
    back = gate.folder("back")
    restic(gate, bucket, "restore", "latest", "--target", back)
    assert_same_tree(source, back / source.relative_to("/"))


def what_is_forgotten_is_pruned_and_the_rest_stays(gate, bucket):
    source = gate.folder("pruned")
    restic(gate, bucket, "init")
    kept = file_of(source, "kept", 3 * MIB)
    file_of(source, "dropped", 5 * MIB)
    restic(gate, bucket, "backup", source)
    (source / "dropped").unlink()
    file_of(source, "added", 2 * MIB)
    restic(gate, bucket, "backup", source)
    before = sum(len(gate.get(bucket, key)) for key in gate.keys(bucket, "repository/data/"))
    restic(gate, bucket, "forget", "--keep-last", "1", "--prune")
    after = sum(len(gate.get(bucket, key)) for key in gate.keys(bucket, "repository/data/"))
    assert after < before - 4 * MIB, (before, after)
    restic(gate, bucket, "check", "--read-data")
    back = gate.folder("pruned-back")
    restic(gate, bucket, "restore", "latest", "--target", back)
    assert_same_tree(source, back / source.relative_to("/"))
    assert kept.exists() and not gate.keys(bucket, "repository/locks/")


def two_hosts_back_up_at_the_same_time(gate, bucket):
    restic(gate, bucket, "init")
    failures = []

    def back_up(host):
        try:
            folder = gate.folder(host)
            file_of(folder, "own", 4 * MIB + len(host))
            restic(gate, bucket, "backup", "--host", host, folder)
        except AssertionError as error:
            failures.append(error)

    threads = [threading.Thread(target=back_up, args=(f"host-{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    listed = restic(gate, bucket, "snapshots").out
    assert "host-0" in listed and "host-1" in listed, listed
    restic(gate, bucket, "check", "--read-data")


CHECKS = [
    a_backup_is_checked_and_restored,
    what_is_forgotten_is_pruned_and_the_rest_stays,
    two_hosts_back_up_at_the_same_time,
]

if __name__ == "__main__":
    main(CHECKS)
