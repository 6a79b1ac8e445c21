"""s5cmd: many files at once, pipes, sync, batches."""

from gate import MIB, assert_same_tree, content, file_of, main, program, tree_of


def s5cmd(gate, *arguments, **options):
    extra = ["--no-verify-ssl"] if gate.secure else []
    env = {"AWS_ACCESS_KEY_ID": gate.access, "AWS_SECRET_ACCESS_KEY": gate.secret}
    return gate.run(program("s5cmd"), *extra, "--retry-count", "0", "--endpoint-url",
                    gate.endpoint, *arguments, env=env, **options)


def a_tree_is_copied_both_ways(gate, bucket):
    source = tree_of(gate.folder("tree"))
    s5cmd(gate, "cp", "--part-size", "5", f"{source}/", f"s3://{bucket}/tree/")
    back = gate.folder("back")
    s5cmd(gate, "cp", "--part-size", "5", f"s3://{bucket}/tree/*", f"{back}/")
    assert_same_tree(source, back)
    listed = s5cmd(gate, "ls", f"s3://{bucket}/tree/sizes/*").out
    assert "65537.bin" in listed, listed


def a_sync_removes_what_is_gone(gate, bucket):
    source = gate.folder("sync")
    for name in ("one", "two", "three"):
        file_of(source, name, 5000)
    s5cmd(gate, "sync", f"{source}/", f"s3://{bucket}/s/")
    (source / "two").unlink()
    s5cmd(gate, "sync", "--delete", f"{source}/", f"s3://{bucket}/s/")
    assert sorted(gate.keys(bucket)) == ["s/one", "s/three"], gate.keys(bucket)


def pipes_go_in_and_out(gate, bucket):
    data = content("pipe", 12 * MIB + 1)
    s5cmd(gate, "pipe", f"s3://{bucket}/piped", data=data)
    gate.assert_holds(bucket, "piped", data)
    assert s5cmd(gate, "cat", f"s3://{bucket}/piped").stdout == data


def a_batch_of_commands_runs(gate, bucket):
    folder = gate.folder("batch")
    lines = []
    for number in range(60):
        lines.append(f"cp {file_of(folder, f'{number}.bin', 2000 + number)} s3://{bucket}/b/{number}")
    commands = folder / "commands"
    commands.write_text("\n".join(lines) + "\n")
    s5cmd(gate, "run", commands)
    assert len(gate.keys(bucket)) == 60
    s5cmd(gate, "mv", f"s3://{bucket}/b/*", f"s3://{bucket}/moved/")
    assert len(gate.keys(bucket, "moved/")) == 60 and not gate.keys(bucket, "b/")
    gate.assert_holds(bucket, "moved/7", content("7.bin", 2007))
    s5cmd(gate, "rm", f"s3://{bucket}/*")
    assert gate.keys(bucket) == []


def versions_are_listed_and_removed(gate, bucket):
    s5cmd(gate, "bucket-version", "--set", "Enabled", f"s3://{bucket}")
    for number in range(3):
        s5cmd(gate, "pipe", f"s3://{bucket}/v", data=f"body {number}".encode())
    listed = s5cmd(gate, "ls", "--all-versions", f"s3://{bucket}/v").out.strip().splitlines()
    assert len(listed) == 3, listed
    s5cmd(gate, "rm", "--all-versions", f"s3://{bucket}/*")
    left = s5cmd(gate, "ls", "--all-versions", f"s3://{bucket}", expect=None).out
    assert not left.strip(), left


CHECKS = [
    a_tree_is_copied_both_ways,
    a_sync_removes_what_is_gone,
    pipes_go_in_and_out,
    a_batch_of_commands_runs,
    versions_are_listed_and_removed,
]

if __name__ == "__main__":
    main(CHECKS)
