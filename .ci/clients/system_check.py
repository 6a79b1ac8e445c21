"""Programs of the system: s3fs-fuse, docker-registry, litestream, Perl, Ruby, curl."""

import hashlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import urllib.request

from gate import EMPTY, MIB, Skip, assert_same_tree, content, file_of, main, program, tree_of, wait_until


def started(gate, *command, env=None):
    log = open(gate.scratch / "log", "ab")
    return subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log,
                            stderr=log, env={**gate.environment(), **(env or {})})


def ended(process):
    process.send_signal(signal.SIGTERM)
    process.wait(30)


def s3fs_fuse_is_a_folder(gate, bucket):
    if not os.access("/dev/fuse", os.W_OK):
        raise Skip("/dev/fuse cannot be opened")
    secret = gate.scratch / "passwd-s3fs"
    secret.write_text(f"{gate.access}:{gate.secret}")
    secret.chmod(0o600)
    mount = gate.folder("mount")
    process = started(
        gate, program("s3fs"), bucket, mount, "-f", "-o", f"url={gate.endpoint}",
        "-o", "use_path_request_style", "-o", f"passwd_file={secret}",
        "-o", f"endpoint={gate.region}", "-o", "multipart_size=5", "-o", "retries=1")
    try:
        wait_until(20, "mount", lambda: os.path.ismount(mount) or process.poll() is not None)
        if not os.path.ismount(mount):
            raise Skip(f"it does not mount here: {(gate.scratch / 'log').read_text()[-300:]}")
        source = tree_of(gate.folder("tree"))
        shutil.copytree(source, mount / "tree")
        assert_same_tree(source, mount / "tree")
        # Its times and modes are metadata, changed by copies onto itself.
        large = mount / "tree" / "sizes" / f"{17 * MIB}.bin"
        os.chmod(large, 0o640)
        os.utime(large, (1_700_000_000, 1_700_000_000))
        gate.assert_holds(bucket, f"tree/sizes/{17 * MIB}.bin", content(f"sizes/{17 * MIB}.bin", 17 * MIB))
        assert os.stat(large).st_mtime == 1_700_000_000
        os.rename(mount / "tree", mount / "renamed ü")
        assert_same_tree(source, mount / "renamed ü")
        with open(mount / "renamed ü" / "plain.txt", "ab") as out:
            out.write(b" and more")
        assert gate.get(bucket, "renamed ü/plain.txt").endswith(b" and more")
        shutil.rmtree(mount / "renamed ü")
    finally:
        subprocess.run(["fusermount3" if shutil.which("fusermount3") else "fusermount", "-u",
                        str(mount)], check=False, capture_output=True)
        ended(process)


def docker_registry_keeps_layers(gate, bucket):
    # Debian's package puts it where only root looks.
    registry = shutil.which("docker-registry", path=f"{os.environ['PATH']}:/usr/sbin:/usr/bin")
    if registry is None:
        raise Skip("docker-registry is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = gate.scratch / "registry.json"
    config.write_text(json.dumps({
        "version": 0.1, "http": {"addr": f"127.0.0.1:{port}"},
        "storage": {"delete": {"enabled": True}, "s3": {
            "accesskey": gate.access, "secretkey": gate.secret, "region": gate.region,
            "regionendpoint": gate.endpoint, "bucket": bucket, "encrypt": False,
            "secure": gate.secure, "chunksize": 5 * MIB, "rootdirectory": "/registry"}}}))
    process = started(gate, registry, "serve", config, env={"OTEL_TRACES_EXPORTER": "none"})
    base = f"http://127.0.0.1:{port}/v2"

    def call(method, url, data=None, headers=None):
        request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
        return urllib.request.urlopen(request, timeout=120)

    def ready():
        assert process.poll() is None, (gate.scratch / "log").read_text()[-800:]
        try:
            return call("GET", f"{base}/").status == 200
        except OSError:
            return False

    try:
        wait_until(30, "registry", ready)
        digests = []
        for size in (2000, 23 * MIB):
            data = content(f"layer {size}", size)
            digests.append(f"sha256:{hashlib.sha256(data).hexdigest()}")
            place = call("POST", f"{base}/app/blobs/uploads/", b"").headers["Location"]
            # In pieces, as docker does: each continues the upload in the bucket.
            for start in range(0, size, 9 * MIB):
                piece = data[start:start + 9 * MIB]
                place = call("PATCH", place, piece, {
                    "Content-Type": "application/octet-stream",
                    "Content-Range": f"{start}-{start + len(piece) - 1}"}).headers["Location"]
            call("PUT", f"{place}&digest={digests[-1]}", b"")
            with call("GET", f"{base}/app/blobs/{digests[-1]}") as answer:
                assert answer.read() == data, size
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
                       "size": 2000, "digest": digests[0]},
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                        "size": 23 * MIB, "digest": digests[1]}]}).encode()
        kind = {"Content-Type": "application/vnd.docker.distribution.manifest.v2+json"}
        call("PUT", f"{base}/app/manifests/v1", manifest, kind)
        with call("GET", f"{base}/app/manifests/v1", headers={"Accept": kind["Content-Type"]}) as got:
            assert got.read() == manifest
        assert json.load(call("GET", f"{base}/app/tags/list"))["tags"] == ["v1"]
    finally:
        ended(process)


def litestream_replicates_a_database(gate, bucket):
    folder = gate.folder("litestream")
    config = folder / "litestream.yml"
    config.write_text(f"""
dbs:
  - path: {folder}/a.db
    replica:
      type: s3
      bucket: {bucket}
      path: replica
      endpoint: {gate.endpoint}
      region: {gate.region}
      force-path-style: true
      sync-interval: 200ms
""")
    database = sqlite3.connect(folder / "a.db")
    database.execute("PRAGMA journal_mode = wal")
    database.execute("CREATE TABLE t (n INTEGER, b BLOB)")
    database.commit()
    process = started(gate, program("litestream"), "replicate", "-config", config)
    try:
        wait_until(30, "first copy", lambda: gate.keys(bucket, "replica/"))
        for number in range(50):
            database.execute("INSERT INTO t VALUES (?, ?)", (number, content(str(number), 20_000)))
            database.commit()
        want = database.execute("SELECT count(*), sum(n) FROM t").fetchone()

        def restored():
            back = folder / "back.db"
            back.unlink(missing_ok=True)
            gate.run(program("litestream"), "restore", "-config", config, "-o", back,
                     folder / "a.db")
            try:
                return sqlite3.connect(back).execute("SELECT count(*), sum(n) FROM t").fetchone() == want
            except sqlite3.Error:
                return False

        wait_until(60, "whole copy", restored)
    finally:
        ended(process)
        database.close()


RUBY = """
require 'aws-sdk-s3'
bucket, file = ARGV
s3 = Aws::S3::Resource.new(endpoint: ENV['AWS_ENDPOINT_URL'], force_path_style: true,
                           region: ENV['AWS_REGION'], retry_limit: 0)
s3.bucket(bucket).object('ruby/a file +').upload_file(file, multipart_threshold: 6 << 20)
s3.bucket(bucket).object('ruby/stream').upload_stream(part_size: 5 << 20) do |out|
  IO.copy_stream(File.open(file, 'rb'), out)
end
raise 'listing' unless s3.bucket(bucket).objects(prefix: 'ruby/').map(&:key).length == 2
s3.bucket(bucket).object('ruby/copy').copy_from("#{bucket}/ruby/stream")
s3.bucket(bucket).object('ruby/stream').delete
puts s3.bucket(bucket).object('ruby/a file +').presigned_url(:get, expires_in: 60)
"""


def the_ruby_sdk_works(gate, bucket):
    ruby = program("ruby")
    if gate.run(ruby, "-e", "require 'aws-sdk-s3'", expect=None).returncode != 0:
        raise Skip("ruby-aws-sdk-s3 is not installed")
    sent = file_of(gate.folder("ruby"), "sent", 17 * MIB)
    url = gate.run(ruby, "-e", RUBY, bucket, sent).out.strip()
    for key in ("ruby/a file +", "ruby/copy"):
        gate.assert_holds(bucket, key, sent.read_bytes())
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert answer.read() == sent.read_bytes()


PERL = """
use Net::Amazon::S3; use Net::Amazon::S3::Vendor::Generic;
use Net::Amazon::S3::Authorization::Basic;
my ($bucket, $file, $host, $secure) = @ARGV;
my $s3 = Net::Amazon::S3->new(
  authorization_context => Net::Amazon::S3::Authorization::Basic->new(
    aws_access_key_id => $ENV{AWS_ACCESS_KEY_ID}, aws_secret_access_key => $ENV{AWS_SECRET_ACCESS_KEY}),
  vendor => Net::Amazon::S3::Vendor::Generic->new(
    host => $host, use_https => $secure, use_virtual_host => 0,
    authorization_method => 'Net::Amazon::S3::Signature::V4', default_region => $ENV{AWS_REGION}),
  retry => 0);
my $b = $s3->bucket({ bucket => $bucket, region => $ENV{AWS_REGION} });
$b->add_key_filename('perl/a file', $file, { content_type => 'text/x-odd' }) or die $s3->errstr;
$b->add_key('perl/other', 'text') or die $s3->errstr;
my $list = $b->list_all({ prefix => 'perl/' }) or die $s3->errstr;
die 'listing' unless @{ $list->{keys} } == 2;
$b->delete_key('perl/other') or die $s3->errstr;
$b->get_key_filename('perl/a file', 'GET', "$file.back") or die $s3->errstr;
"""


def the_perl_library_works(gate, bucket):
    perl = program("perl")
    if gate.run(perl, "-MNet::Amazon::S3::Vendor::Generic", "-e", "1", expect=None).returncode != 0:
        raise Skip("libnet-amazon-s3-perl is not installed")
    sent = file_of(gate.folder("perl"), "sent", 3 * MIB)
    gate.run(perl, "-e", PERL, bucket, sent, gate.host, int(gate.secure))
    gate.assert_holds(bucket, "perl/a file", sent.read_bytes())
    assert (gate.folder("perl") / "sent.back").read_bytes() == sent.read_bytes()
    assert gate.keys(bucket) == ["perl/a file"]


def curl_signs_for_itself(gate, bucket):
    sent = file_of(gate.folder("curl"), "sent", 700_001)
    curl = [program("curl"), "--silent", "--show-error", "--fail-with-body",
            "--aws-sigv4", f"aws:amz:{gate.region}:s3", "--user", f"{gate.access}:{gate.secret}"]
    gate.run(*curl, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-T", sent,
             f"{gate.endpoint}/{bucket}/by-curl")
    gate.assert_holds(bucket, "by-curl", sent.read_bytes())
    # Newer ones send this header on their own.
    empty = f"x-amz-content-sha256: {EMPTY}"
    listed = gate.run(*curl, "-H", empty, f"{gate.endpoint}/{bucket}?list-type=2&prefix=by").out
    assert "<Key>by-curl</Key>" in listed, listed


CHECKS = [
    s3fs_fuse_is_a_folder,
    docker_registry_keeps_layers,
    litestream_replicates_a_database,
    the_ruby_sdk_works,
    the_perl_library_works,
    curl_signs_for_itself,
]

if __name__ == "__main__":
    main(CHECKS)
