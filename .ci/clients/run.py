"""Runs every client of this folder against one network.

    .ci/clients/run.py --binary target/release/stratos --tools /tmp/tools [NAME...]

The tools are what `install_clients` of .ci/tools.sh installed. The exit code is 1 when a
check failed, or when more were skipped than --skips allows.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from smoke_harness import Context, Network, tail  # noqa: E402

# Script -> the venv (a section of requirements.txt) that it runs in.
CLIENTS = {
    "boto3": "boto3",
    "awscli": "boto3",
    "rclone": "programs",
    "s3cmd": "programs",
    "s5cmd": "programs",
    "restic": "programs",
    "terraform": "terraform",
    "minio": "minio",
    "tables": "tables",
    "fsspec": "fsspec",
    "arrays": "arrays",
    "applications": "applications",
    "system": "programs",
    "js": "programs",
}
# Over HTTPS the SDKs send other framing, so these run over both.
SECURE = ("boto3", "awscli", "rclone", "s5cmd", "restic", "terraform", "minio", "js")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="the stratos program")
    parser.add_argument("--tools", type=Path, required=True, help="where the clients are")
    parser.add_argument("--schemes", default="http,https")
    parser.add_argument("--skips", type=int, default=0, help="how many checks may be skipped")
    parser.add_argument("--seconds", type=int, default=600, help="for one client")
    parser.add_argument("--trace", action="store_true", help="show the requests that were refused")
    parser.add_argument("names", nargs="*", metavar="NAME")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - CLIENTS.keys()
    if unknown:
        parser.error(f"no client {sorted(unknown)}; there are: {' '.join(CLIENTS)}")
    chosen.names = chosen.names or list(CLIENTS)
    return chosen


def run_client(chosen, network, name):
    """Runs one script; returns its lines and whether it ended as it should."""
    key = network.endpoint
    env = {
        "PATH": os.environ["PATH"], "HOME": str(network.context.scratch / "home"),
        "TMPDIR": str(network.context.scratch), "LC_ALL": "C.UTF-8", "NO_PROXY": "*",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_ENDPOINT_URL": network.url(), "AWS_REGION": key["region"],
        "AWS_ACCESS_KEY_ID": key["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": key["secret_access_key"],
        "STRATOS_NODE_MODULES": str(chosen.tools / "node" / "node_modules"),
    }
    if network.url().startswith("https:"):
        env["AWS_CA_BUNDLE"] = str(network.dir / "tls" / "cert.pem")
    venv = chosen.tools / f"venv-{CLIENTS[name]}"
    if not (venv / "installed").exists():
        return f"SKIP {name}: its packages could not be installed in {venv}", 0
    python = venv / "bin" / "python"
    command = [python, HERE / f"{name}_check.py"] + (["--trace"] if chosen.trace else [])
    process = subprocess.Popen([str(part) for part in command], env=env, text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    try:
        out, _ = process.communicate(timeout=chosen.seconds)
    except subprocess.TimeoutExpired:
        # The script and what it started are a group of their own.
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        out += f"\nFAIL {name}: not done within {chosen.seconds} s\n"
    return out, process.returncode


def left_over(network):
    return [bucket["Name"] for bucket in network.s3().list_buckets()["Buckets"]
            if bucket["Name"].startswith("client-")]


def run_scheme(chosen, context, scheme, counts):
    secure = scheme == "https"
    options = ("--epoch", "5s") + (("--tls",) if secure else ())
    network = Network(context, f"clients-{scheme}", *options)
    network.start()
    if secure:
        os.environ["AWS_CA_BUNDLE"] = str(network.dir / "tls" / "cert.pem")
    for name in chosen.names:
        if secure and name not in SECURE:
            continue
        begin = time.monotonic()
        out, code = run_client(chosen, network, name)
        print(f"== {name} over {scheme}, {time.monotonic() - begin:.0f} s\n{out.rstrip()}", flush=True)
        for word in ("ok  ", "SKIP", "FAIL"):
            counts[word.strip()] += len(re.findall(rf"^{word} ", out, re.M))
        if code != 0 and "\nFAIL" not in f"\n{out}":
            counts["FAIL"] += 1
            print(f"FAIL {name} ended with {code}")
    stays = left_over(network)
    if stays:
        counts["FAIL"] += 1
        print(f"FAIL buckets that were not removed: {stays}")
    log = network.log.read_text(errors="replace")
    if "panicked" in log:
        counts["FAIL"] += 1
        print(f"FAIL the gateway panicked: {tail(network.log)}")
    if network.stop() != 0:
        counts["FAIL"] += 1
        print(f"FAIL the network did not end in order: {tail(network.log)}")


def main():
    chosen = arguments()
    counts = {"ok": 0, "SKIP": 0, "FAIL": 0}
    with tempfile.TemporaryDirectory(prefix="clients-") as scratch:
        context = Context(chosen.binary, scratch)
        try:
            for scheme in chosen.schemes.split(","):
                run_scheme(chosen, context, scheme, counts)
        finally:
            context.end_all()
    print(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped "
          f"(at most {chosen.skips} may be)")
    return 1 if counts["FAIL"] or counts["SKIP"] > chosen.skips else 0


if __name__ == "__main__":
    sys.exit(main())
