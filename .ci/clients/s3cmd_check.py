"""s3cmd: sync, checks by MD5, multipart, ACL, signed URL."""

import urllib.error
import urllib.request

from gate import MIB, assert_same_tree, content, file_of, main, program, tree_of


def s3cmd(gate, *arguments, **options):
    config = gate.scratch / "s3cfg"
    config.write_text("\n".join([
        "[default]", f"access_key = {gate.access}", f"secret_key = {gate.secret}",
        f"host_base = {gate.host}", f"host_bucket = {gate.host}",
        f"bucket_location = {gate.region}", f"use_https = {gate.secure}",
        f"ca_certs_file = {gate.ca or ''}", "multipart_chunk_size_mb = 5", "max_retries = 1",
        "signature_v2 = False", ""]))
    return gate.run(program("s3cmd"), "-c", config, "--no-progress", *arguments, **options)


def a_tree_is_synced_both_ways(gate, bucket):
    source = tree_of(gate.folder("tree"))
    s3cmd(gate, "sync", f"{source}/", f"s3://{bucket}/tree/")
    again = s3cmd(gate, "sync", "--dry-run", f"{source}/", f"s3://{bucket}/tree/").out
    assert "upload:" not in again, again
    back = gate.folder("back")
    s3cmd(gate, "sync", f"s3://{bucket}/tree/", f"{back}/")
    assert_same_tree(source, back)


def a_large_file_goes_in_parts_and_is_described(gate, bucket):
    sent = file_of(gate.folder("large"), "large.bin", 17 * MIB + 9)
    s3cmd(gate, "put", sent, f"s3://{bucket}/large.bin", "--add-header", "x-amz-meta-owner: me")
    gate.assert_holds(bucket, "large.bin", sent.read_bytes())
    facts = s3cmd(gate, "info", f"s3://{bucket}/large.bin").out
    assert "x-amz-meta-owner" in facts and str(17 * MIB + 9) in facts, facts
    s3cmd(gate, "cp", f"s3://{bucket}/large.bin", f"s3://{bucket}/copy.bin")
    s3cmd(gate, "mv", f"s3://{bucket}/copy.bin", f"s3://{bucket}/moved +.bin")
    gate.assert_holds(bucket, "moved +.bin", sent.read_bytes())
    sizes = s3cmd(gate, "du", f"s3://{bucket}").out
    assert str(2 * (17 * MIB + 9)) in sizes, sizes


def access_is_set_and_shown(gate, bucket):
    sent = file_of(gate.folder("acl"), "page.txt", 300)
    s3cmd(gate, "put", "--acl-public", sent, f"s3://{bucket}/page.txt")
    with urllib.request.urlopen(f"{gate.direct}/{bucket}/page.txt", timeout=30) as answer:
        assert answer.read() == sent.read_bytes()
    s3cmd(gate, "setacl", "--acl-private", f"s3://{bucket}/page.txt")
    try:
        urllib.request.urlopen(f"{gate.direct}/{bucket}/page.txt", timeout=30)
        raise AssertionError("a private object was read without a key")
    except urllib.error.HTTPError as error:
        assert error.code == 403, error.code


def configurations_are_set_and_read(gate, bucket):
    folder = gate.folder("config")
    policy = folder / "policy.json"
    policy.write_text('{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",'
                      f'"Action":"s3:GetObject","Resource":"arn:aws:s3:::{bucket}/open/*"}}]}}')
    s3cmd(gate, "setpolicy", policy, f"s3://{bucket}")
    facts = s3cmd(gate, "info", f"s3://{bucket}").out
    assert "open/*" in facts, facts
    s3cmd(gate, "delpolicy", f"s3://{bucket}")
    s3cmd(gate, "settagging", f"s3://{bucket}", "a=1&b=2")
    tags = s3cmd(gate, "gettagging", f"s3://{bucket}").out
    assert "a" in tags and "2" in tags, tags
    s3cmd(gate, "expire", "--expiry-days", "30", f"s3://{bucket}")
    rules = s3cmd(gate, "getlifecycle", f"s3://{bucket}").out
    assert "30" in rules, rules


def many_are_removed_at_once(gate, bucket):
    for number in range(30):
        gate.put(bucket, f"many/{number} ü", content(str(number), 50))
    s3cmd(gate, "del", "--recursive", "--force", f"s3://{bucket}/many/")
    assert gate.keys(bucket) == [], gate.keys(bucket)


CHECKS = [
    a_tree_is_synced_both_ways,
    a_large_file_goes_in_parts_and_is_described,
    access_is_set_and_shown,
    configurations_are_set_and_read,
    many_are_removed_at_once,
]

if __name__ == "__main__":
    main(CHECKS)
