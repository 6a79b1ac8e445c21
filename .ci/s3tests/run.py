"""Runs ceph s3-tests, from a checkout that the user has, against a gateway.

    S3_TESTS_DIR=~/s3-tests PYTHON .ci/s3tests/run.py --binary target/release/stratos
    S3_TESTS_DIR=~/s3-tests PYTHON .ci/s3tests/run.py --data ./data --binary ...

PYTHON is that of a venv with the requirements.txt beside this file. Prints what
failed and why, then a table, and compares with allow.txt: names that must pass, over
each scheme that is run. The list only grows, by --update. The exit code is 1 when a
name of the list did not pass.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import scope  # noqa: E402
from smoke_harness import Context, Network  # noqa: E402

ALLOW = HERE / "allow.txt"
# The one region where making a bucket twice is no error, which the tests rely on.
REGION = "us-east-1"
# What the tests need to be switched on; nothing of it changes what an answer is.
OWN_NETWORK = ("--epoch", "600s", "--region", REGION)
SECTIONS = ("s3 main", "s3 alt", "s3 tenant", "iam", "iam root", "iam alt root")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="the stratos program")
    parser.add_argument("--data", type=Path, help="a network that runs; without it one is started")
    parser.add_argument("--suite", type=Path, default=os.environ.get("S3_TESTS_DIR"),
                        help="the checkout of s3-tests (S3_TESTS_DIR)")
    parser.add_argument("--scheme", choices=("http", "https", "both"), default="http")
    parser.add_argument("--up-option", action="append", default=[], metavar="OPTION",
                        help="one more argument for `stratos up`")
    parser.add_argument("--day", type=int, default=4,
                        help="the seconds that a day of lifecycle rules lasts there")
    parser.add_argument("--kms-keys", default="testkey-1,testkey-2")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=180, help="seconds for one test")
    parser.add_argument("--seconds", type=int, default=5400, help="for each scheme")
    parser.add_argument("--select", help="pytest's -k; the list is then compared for these only")
    parser.add_argument("--report", type=Path, help="also write the report to this file")
    parser.add_argument("--results", type=Path, help="also write the outcomes as JSON")
    parser.add_argument("--update", action="store_true", help="add what newly passed to the list")
    chosen = parser.parse_args()
    if chosen.suite is None or not (Path(chosen.suite) / "s3tests/functional").is_dir():
        parser.error("--suite or S3_TESTS_DIR must name a checkout of ceph s3-tests")
    chosen.suite = Path(chosen.suite).resolve()
    return chosen


class Users:
    """Makes accounts with keys by the program's own commands."""

    def __init__(self, network):
        self.network = network
        self.stamp = f"{int(time.time()):x}"

    def make(self, worker, section):
        name = f"{section.replace(' ', '-')}-{worker}-{self.stamp}"
        email = f"{name}@example.org"
        account = self.network.cli("account", "create", name, "--display-name", name,
                                   "--email", email)
        key = self.network.cli("key", "create", "--account", name)
        return {
            "display_name": name,
            "user_id": account["canonical_id"],
            "email": email,
            "access_key": key["access_key_id"],
            "secret_key": key["secret_access_key"],
        }


def write_conf(path, chosen, network, users, worker, secure):
    """s3tests.conf for one worker."""
    host, port = network.url().split("//")[1].rsplit(":", 1)
    lines = ["[DEFAULT]", f"host = {host}", f"port = {port}", f"is_secure = {secure}",
             "ssl_verify = False", "", "[fixtures]", f"bucket prefix = {worker}-{{random}}-"]
    main_key, second_key = chosen.kms_keys.split(",")
    for section in SECTIONS:
        settings = users.make(worker, section)
        if section == "s3 main":
            settings.update(lc_debug_interval=chosen.day, kms_keyid=main_key,
                            kms_keyid2=second_key)
            # A bucket there has no location by name, so its test is then skipped.
            if network.endpoint["region"] != "us-east-1":
                settings["api_name"] = network.endpoint["region"]
        if section == "s3 tenant":
            # Accounts have no tenants; the section stands for one more account.
            settings["tenant"] = ""
        lines += ["", f"[{section}]"] + [f"{key} = {value}" for key, value in settings.items()]
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)


def run_suite(chosen, network, scheme, folder):
    """Runs pytest; returns the outcomes by name and the scope."""
    users = Users(network)
    for index in range(max(1, chosen.workers)):
        write_conf(folder / f"{scheme}-gw{index}.conf", chosen, network, users, f"gw{index}",
                   scheme == "https")
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env.update({
        "HOME": str(folder), "NO_PROXY": "*", "AWS_DEFAULT_REGION": network.endpoint["region"],
        "AWS_EC2_METADATA_DISABLED": "true", "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(HERE), "S3TESTS_FOLDER": str(folder), "S3TESTS_NAME": scheme,
    })
    if scheme == "https":
        certificate = str(network.dir / "tls" / "cert.pem")
        env.update(SSL_CERT_FILE=certificate, REQUESTS_CA_BUNDLE=certificate)
    command = [sys.executable, "-m", "pytest", "-p", "record", "-p", "no:cacheprovider",
               "-q", "--no-header", "--tb=short", "-W", "ignore",
               f"--timeout={chosen.timeout}", "--timeout-method=signal"]
    if chosen.workers > 1:
        command += ["-n", str(chosen.workers)]
    if chosen.select:
        command += ["-k", chosen.select]
    command += [f"s3tests/functional/{name}" for name in scope.FILES]
    log = folder / f"{scheme}-pytest.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(command, cwd=chosen.suite, env=env, stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            process.wait(chosen.seconds)
        except subprocess.TimeoutExpired:
            print(f"{scheme}: not done within {chosen.seconds} s; what follows is a part of it")
        finally:
            end_group(process)
    try:
        within = json.loads((folder / f"{scheme}-scope.json").read_text())
        outcomes = read_outcomes(folder / f"{scheme}.jsonl")
    except (FileNotFoundError, ValueError):
        outcomes = {}
    if not outcomes:
        sys.exit(f"pytest did not run the tests:\n{log.read_text(errors='replace')[-3000:]}")
    for name in within["applies"]:
        outcomes.setdefault(name, {"outcome": "error", "why": "it was not run", "seconds": 0.0})
    return outcomes, within


def end_group(process):
    """Ends pytest and its workers: the group that was started here."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    process.wait()


def read_outcomes(path):
    found = {}
    for line in path.read_text().splitlines():
        outcome = json.loads(line)
        found[outcome.pop("name")] = outcome
    return found


def allowed(scheme=None):
    """The names that must pass; a scheme after a name is the only one it must pass over."""
    lines = ALLOW.read_text().splitlines() if ALLOW.exists() else []
    entries = [line.split() for line in lines if line and not line.startswith("#")]
    return {entry[0] for entry in entries if scheme in (None, *entry[1:2]) or len(entry) == 1}


def describe(scheme, outcomes, within, seconds):
    counts = Counter(found["outcome"] for found in outcomes.values())
    lines = [
        f"{scheme}: {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}, {seconds:.0f} s",
        f"{scheme}: {len(within['applies'])} tests apply "
        f"({len({name.split('[')[0] for name in within['applies']})} functions), "
        f"{len(within['left_out'])} do not: "
        + "; ".join(f"{count} {reason}" for reason, count
                    in Counter(within["left_out"].values()).most_common()),
        f"{scheme}: " + ", ".join(f"{counts[kind]} {kind}"
                                  for kind in ("pass", "fail", "error", "skip")),
    ]
    for kind in ("fail", "error", "skip"):
        lines += [f"{kind.upper():5} {name}  {found['why']}"
                  for name, found in sorted(outcomes.items()) if found["outcome"] == kind]
    return lines


def compare(schemes, select):
    """What is wrong with the list, and what could be added to it."""
    broken, passed = [], None
    for scheme, outcomes in schemes.items():
        listed = allowed(scheme)
        good = {name for name, found in outcomes.items() if found["outcome"] == "pass"}
        passed = good if passed is None else passed & good
        expected = listed & outcomes.keys() if select else listed
        broken += [f"{scheme}: {name} is in allow.txt and did not pass"
                   for name in sorted(expected - good)]
    return broken, passed - allowed()


def update(names):
    lines = ALLOW.read_text().splitlines() if ALLOW.exists() else []
    head = [line for line in lines if line.startswith("#")]
    ALLOW.write_text("\n".join(head + sorted({*lines, *names} - {*head, ""})) + "\n")


def main():
    chosen = arguments()
    schemes = ("http", "https") if chosen.scheme == "both" else (chosen.scheme,)
    results, report = {}, []
    with tempfile.TemporaryDirectory(prefix="s3tests-") as scratch:
        context = Context(chosen.binary, scratch)
        try:
            for scheme in schemes:
                network = open_network(chosen, context, scheme)
                begin = time.monotonic()
                folder = context.folder(f"{scheme}-run")
                outcomes, within = run_suite(chosen, network, scheme, folder)
                results[scheme] = outcomes
                report += describe(scheme, outcomes, within, time.monotonic() - begin)
                report += server_errors(network)
        finally:
            context.end_all()
    broken, fresh = compare(results, chosen.select)
    report += broken + [f"{len(allowed())} names in allow.txt, {len(broken)} of them broken, "
                        f"{len(fresh)} more could be added"]
    print("\n".join(report))
    if chosen.report:
        chosen.report.write_text("\n".join(report) + "\n")
    if chosen.results:
        chosen.results.write_text(json.dumps(results, indent=1))
    if chosen.update:
        update(fresh)
    return 1 if broken else 0


def open_network(chosen, context, scheme):
    if chosen.data is None:
        options = OWN_NETWORK + ("--lifecycle-day", f"{chosen.day}s") + tuple(chosen.up_option)
        for key in chosen.kms_keys.split(","):
            options += ("--kms-key", key)
        options += ("--tls",) if scheme == "https" else ()
        network = Network(context, f"network-{scheme}", *options)
        network.start()
        return network
    network = Network(context, "unused")
    network.dir = chosen.data.resolve()
    network.endpoint = json.loads((network.dir / "endpoint.json").read_text())
    return network


def server_errors(network):
    """Panics in the log of a network that was started here."""
    if not network.log.exists():
        return []
    lines = network.log.read_text(errors="replace").splitlines()
    return [f"LOG   {line[:400]}" for line in lines if "panicked" in line][:20]


if __name__ == "__main__":
    sys.exit(main())
