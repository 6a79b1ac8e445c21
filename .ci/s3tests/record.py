"""A pytest plugin: keeps to the scope, gives each worker accounts of its own, and
writes one JSON line for each finished test, so that an interrupted run tells too.
"""

import json
import os

import pytest

import scope


def pytest_configure(config):
    # Tests list all buckets of their user, so workers must not share users.
    worker = getattr(config, "workerinput", {}).get("workerid", "gw0")
    os.environ["S3TEST_CONF"] = os.path.join(
        os.environ["S3TESTS_FOLDER"], f"{os.environ['S3TESTS_NAME']}-{worker}.conf")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(), "recorder")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    kept, left_out = [], []
    for item in items:
        markers = [marker.name for marker in item.iter_markers()]
        reason = scope.reason_to_leave_out(item.originalname, markers)
        (left_out if reason else kept).append((item, reason))
    items[:] = [item for item, _ in kept]
    config.hook.pytest_deselected(items=[item for item, _ in left_out])
    if getattr(config, "workerinput", {}).get("workerid", "gw0") == "gw0":
        path = os.path.join(os.environ["S3TESTS_FOLDER"], f"{os.environ['S3TESTS_NAME']}-scope.json")
        with open(path, "w", encoding="utf-8") as out:
            json.dump({
                "applies": [scope.short(item.nodeid) for item, _ in kept],
                "left_out": {scope.short(item.nodeid): reason for item, reason in left_out},
            }, out)


class Recorder:
    """One line for each test: its worst phase decides."""

    def __init__(self):
        self.phases = {}
        path = os.path.join(os.environ["S3TESTS_FOLDER"], f"{os.environ['S3TESTS_NAME']}.jsonl")
        self.out = open(path, "w", encoding="utf-8")

    def pytest_runtest_logreport(self, report):
        found = self.phases.setdefault(report.nodeid, {"outcome": "pass", "why": "", "seconds": 0.0})
        found["seconds"] += report.duration
        if report.skipped and found["outcome"] == "pass":
            found.update(outcome="skip", why=skip_reason(report))
        elif report.failed:
            outcome = "fail" if report.when == "call" else "error"
            if found["outcome"] not in ("fail", "error"):
                found.update(outcome=outcome, why=f"{where(report)}{last_line(report)}")
        if report.when == "teardown":
            line = {"name": scope.short(report.nodeid), **self.phases.pop(report.nodeid)}
            self.out.write(json.dumps(line) + "\n")
            self.out.flush()

    def pytest_sessionfinish(self):
        # A worker that died leaves tests without their last phase.
        for nodeid, found in self.phases.items():
            line = {"name": scope.short(nodeid), **found}
            if found["outcome"] == "pass":
                line.update(outcome="error", why="the worker ended before the test did")
            self.out.write(json.dumps(line) + "\n")
        self.out.close()


def skip_reason(report):
    longrepr = report.longrepr
    return str(longrepr[2] if isinstance(longrepr, tuple) else longrepr)[:300]


def where(report):
    """Phase and the test's own line, which tells more than the line in a library."""
    phase = "" if report.when == "call" else f"{report.when}: "
    entries = getattr(getattr(report.longrepr, "reprtraceback", None), "reprentries", [])
    lines = [entry.reprfileloc for entry in entries if getattr(entry, "reprfileloc", None)]
    own = [spot for spot in lines if "functional/" in str(spot.path)]
    return f"{phase}{os.path.basename(own[-1].path)}:{own[-1].lineno}: " if own else phase


def last_line(report):
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else report.longreprtext.strip().splitlines()[-1]
    return " ".join(text.split())[:400]
