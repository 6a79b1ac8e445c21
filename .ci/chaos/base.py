"""What the classes of fault tests share: options, the seed, the report, the end.

A class is a module with CHECKS (functions of a Chaos; each passes unless it raises) and
add_options. It runs alone or under run.py; both call main.
"""

import argparse
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from smoke_harness import Context, Report, Skip  # noqa: E402


class Chaos(Context):
    """The program under test, a scratch folder, the options and the seed."""

    def __init__(self, options, scratch):
        super().__init__(options.binary, scratch)
        self.options = options
        self.at_end = ExitStack()

    def random(self, name):
        """The random numbers of one check: the same for the same seed, whatever else runs."""
        return random.Random(f"{self.options.seed}/{name}")

    def end_all(self):
        super().end_all()
        self.started.clear()
        # Mounts and namespaces go after the processes that use them.
        self.at_end.close()

    def empty(self):
        """Takes away what the checks so far left; nothing may run in it any more."""
        for path in self.scratch.iterdir():
            if path.name == "home":
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


class Planned:
    """Counts faults, so that a run which injected fewer than planned fails."""

    def __init__(self, **planned):
        self.planned = planned
        self.done = dict.fromkeys(planned, 0)

    def plan(self, kind, count):
        self.planned[kind] = self.planned.get(kind, 0) + count
        self.done.setdefault(kind, 0)

    def count(self, kind):
        self.done[kind] = self.done.get(kind, 0) + 1

    def assert_all(self):
        short = {kind: f"{self.done[kind]} of {wanted}"
                 for kind, wanted in self.planned.items() if self.done[kind] < wanted}
        assert not short, f"fewer faults than planned: {short}"

    def __str__(self):
        return ", ".join(f"{count} {kind}" for kind, count in self.done.items() if count)


def need_root(*programs):
    """Skips a check where it cannot do what it does: not root, or a program is missing."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise Skip(f"{', '.join(missing)} not installed")


def command(*parts, check=True):
    """A system command; what it printed is part of the error."""
    done = subprocess.run([str(part) for part in parts], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode != 0:
        shown = " ".join(map(str, parts))
        raise AssertionError(f"`{shown}` ended with {done.returncode}: {done.stderr.strip()}")
    return done


def main(*modules):
    """Runs the checks of these classes. 0 if all passed and no more were skipped than allowed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, help="the stratos program")
    parser.add_argument("--seed", type=int, default=None, help="repeat the run with this seed")
    parser.add_argument("--skips", type=int, default=0, help="how many checks may be skipped")
    parser.add_argument("--only", help="run the checks whose name contains this text")
    parser.add_argument("--keep", action="store_true", help="leave logs and data for a look")
    for module in modules:
        module.add_options(parser)
    options = parser.parse_args()
    if options.seed is None:
        options.seed = secrets.randbelow(1 << 32)
    # So that `finally` below runs when CI's time is up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report(options.only)
    scratch = tempfile.mkdtemp(prefix="stratos-chaos-")
    print(f"seed {options.seed}", flush=True)
    context = Chaos(options, scratch)
    try:
        for module in modules:
            failed = report.failed
            for check in module.CHECKS:
                report.check(check, context)
            # Each class takes gigabytes; only those of one that failed are worth a look.
            context.end_all()
            if report.failed == failed and not options.keep:
                context.empty()
    finally:
        context.end_all()
        if options.keep or report.failed:
            print(f"logs and data are in {scratch}", flush=True)
        else:
            shutil.rmtree(scratch)
    print(f"seed {options.seed}: {report.passed} passed, {report.failed} failed, "
          f"{report.skipped} skipped, {options.skips} may be")
    is_good = report.passed and not report.failed and report.skipped <= options.skips
    return 0 if is_good else 1
