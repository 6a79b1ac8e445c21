"""aws-cli: transfers, sync, and the calls of s3api that people use."""

import json

from gate import MIB, assert_same_tree, content, file_of, main, program, tree_of


def aws(gate, *arguments, **options):
    config = gate.scratch / "aws-config"
    config.write_text("[default]\ncli_pager =\ns3 =\n    addressing_style = path\n"
                      "    multipart_threshold = 8MB\n    multipart_chunksize = 5MB\n")
    return gate.run(program("aws"), *arguments, **options,
                    env={"AWS_CONFIG_FILE": str(config), "AWS_MAX_ATTEMPTS": "1"})


def api(gate, *arguments):
    out = aws(gate, "s3api", *arguments, "--output", "json").out
    return json.loads(out) if out.strip() else {}


def a_tree_is_synced_both_ways(gate, bucket):
    source = tree_of(gate.folder("tree"))
    aws(gate, "s3", "sync", source, f"s3://{bucket}/tree", "--only-show-errors")
    assert aws(gate, "s3", "sync", source, f"s3://{bucket}/tree").out == ""
    back = gate.folder("back")
    aws(gate, "s3", "sync", f"s3://{bucket}/tree", back, "--only-show-errors")
    assert_same_tree(source, back)
    aws(gate, "s3", "mv", "--recursive", f"s3://{bucket}/tree", f"s3://{bucket}/moved ü",
        "--only-show-errors")
    assert not gate.keys(bucket, "tree/")
    gate.assert_holds(bucket, "moved ü/with space.txt", (source / "with space.txt").read_bytes())


def a_stream_goes_in_and_out(gate, bucket):
    data = content("stream", 13 * MIB + 1)
    aws(gate, "s3", "cp", "-", f"s3://{bucket}/streamed +", data=data)
    gate.assert_holds(bucket, "streamed +", data)
    assert aws(gate, "s3", "cp", f"s3://{bucket}/streamed +", "-").stdout == data


def every_checksum_is_stored(gate, bucket):
    sent = file_of(gate.folder("sums"), "sent", 9 * MIB)
    for algorithm in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"):
        aws(gate, "s3", "cp", sent, f"s3://{bucket}/{algorithm}", "--checksum-algorithm",
            algorithm, "--only-show-errors")
        head = api(gate, "head-object", "--bucket", bucket, "--key", algorithm,
                   "--checksum-mode", "ENABLED")
        assert f"Checksum{algorithm}" in head, head
        facts = api(gate, "get-object-attributes", "--bucket", bucket, "--key", algorithm,
                    "--object-attributes", "Checksum", "ObjectParts", "ObjectSize", "ETag")
        assert facts["ObjectSize"] == 9 * MIB and facts["ObjectParts"]["TotalPartsCount"] == 2, facts


def configurations_are_set_read_and_removed(gate, bucket):
    rules = {
        "cors": ("cors-configuration", {"CORSRules": [{
            "AllowedOrigins": ["https://a.example"], "AllowedMethods": ["GET"]}]}),
        "lifecycle-configuration": ("lifecycle-configuration", {"Rules": [{
            "ID": "r", "Status": "Enabled", "Filter": {"Prefix": "x/"},
            "Expiration": {"Days": 30}}]}),
        "website": ("website-configuration", {"IndexDocument": {"Suffix": "index.html"}}),
        "tagging": ("tagging", {"TagSet": [{"Key": "a", "Value": "b c"}]}),
    }
    for name, (option, value) in rules.items():
        api(gate, f"put-bucket-{name}", "--bucket", bucket, f"--{option}", json.dumps(value))
        got = api(gate, f"get-bucket-{name}", "--bucket", bucket)
        assert value.items() <= got.items(), (name, got)
        api(gate, f"delete-bucket-{name.removesuffix('-configuration')}", "--bucket", bucket)
        gone = aws(gate, "s3api", f"get-bucket-{name}", "--bucket", bucket, expect=None)
        assert gone.returncode != 0 and "NoSuch" in gone.err, (name, gone.err)


def an_object_lock_holds(gate, bucket):
    locked = f"{bucket}-lock"
    api(gate, "create-bucket", "--bucket", locked, "--object-lock-enabled-for-bucket")
    gate.put(locked, "k", b"held")
    version = api(gate, "list-object-versions", "--bucket", locked)["Versions"][0]["VersionId"]
    api(gate, "put-object-legal-hold", "--bucket", locked, "--key", "k", "--legal-hold",
        "Status=ON")
    denied = aws(gate, "s3api", "delete-object", "--bucket", locked, "--key", "k",
                 "--version-id", version, expect=None)
    assert denied.returncode != 0 and "AccessDenied" in denied.err, denied.err
    gate.assert_holds(locked, "k", b"held")
    api(gate, "put-object-legal-hold", "--bucket", locked, "--key", "k", "--legal-hold",
        "Status=OFF")
    gate.remove(locked)


CHECKS = [
    a_tree_is_synced_both_ways,
    a_stream_goes_in_and_out,
    every_checksum_is_stored,
    configurations_are_set_read_and_removed,
    an_object_lock_holds,
]

if __name__ == "__main__":
    main(CHECKS)
