#!/usr/bin/env python3
"""Runs the release binary as its users do: with real clients, stopped, killed and damaged.

    smoke.py --binary target/release/stratos [--only WORD]

One line a check, `ok NAME` or `FAIL NAME: why`, then `N passed, M failed, K skipped`.
Ends with 1 if any failed. Needs boto3, awscli and awscrt beside this Python; rclone
and curl on the path, or the checks that use them are skipped and say so.
STRATOS_SMOKE_FULL=1 makes the memory check upload 8 x 1 GiB instead of 8 x 64 MiB.
"""

import argparse
import signal
import sys
import tempfile

import smoke_clients
import smoke_faults
import smoke_input
import smoke_life
import smoke_multipart
import smoke_roles
import smoke_s3
from smoke_harness import Context, Network, Report


def run(report, context):
    """Checks that share a network first; those that break one have their own."""
    network = Network(context, "shared")

    def up_on_an_empty_folder_is_ready_soon(network):
        seconds = network.start()
        assert seconds < 10, f"ready after {seconds:.2f} s"
        return f"ready after {seconds:.2f} s"

    report.only, only = None, report.only
    report.check(up_on_an_empty_folder_is_ready_soon, network)
    report.only = only
    if network.endpoint is None:
        return
    for module in (smoke_s3, smoke_multipart, smoke_clients, smoke_life):
        for check in module.CHECKS:
            report.check(check, network)
    network.stop()
    for module in (smoke_input, smoke_faults, smoke_roles):
        for check in module.CHECKS:
            report.check(check, context)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--only", help="run the checks whose name contains this text")
    options = parser.parse_args()
    # So that `finally` below runs when CI's time is up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report(options.only)
    with tempfile.TemporaryDirectory(prefix="stratos-smoke-") as scratch:
        context = Context(options.binary, scratch)
        try:
            run(report, context)
        finally:
            context.end_all()
    print(f"{report.passed} passed, {report.failed} failed, {report.skipped} skipped")
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
