#!/usr/bin/env python3
"""Runs the fault tests with real processes, one class after the other.

    .ci/chaos/run.py --binary target/release/stratos [--skips N] [--seed N]

Without options the scale is CI's; docs/testing.md has the figures of a release. Each class
is a script of its own as well. The exit code is 1 when a check failed, or when more were
skipped than --skips allows.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import base  # noqa: E402
import heal  # noqa: E402
import limits  # noqa: E402
import network  # noqa: E402
import powercut  # noqa: E402
import storm  # noqa: E402

# Those that find the most in the least time come first.
CLASSES = [powercut, storm, limits, heal, network]

if __name__ == "__main__":
    sys.exit(base.main(*CLASSES))
