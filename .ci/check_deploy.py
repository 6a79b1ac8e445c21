#!/usr/bin/env python3
"""Asserts what deploy/ promises: a hardened image, compose file and systemd units.

Needs PyYAML. The units are also given to `systemd-analyze verify` where it is installed.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
UNITS = {
    "up": "up /var/lib/stratos/up --listen 127.0.0.1:9000",
    "gateway": "gateway -c /etc/stratos/gateway.toml",
    "node": "node -c /etc/stratos/node.toml",
    "ledger": "ledger -c /etc/stratos/ledger.toml",
}
HARDENED = {
    "Type": "notify", "User": "stratos", "DynamicUser": "no", "UMask": "0077",
    "Restart": "on-failure", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "",
    "AmbientCapabilities": "", "ProtectSystem": "strict", "ProtectHome": "yes",
    "PrivateTmp": "yes", "PrivateDevices": "yes", "MemoryDenyWriteExecute": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX", "RestrictNamespaces": "yes",
    "SystemCallArchitectures": "native", "SystemCallFilter": "@system-service",
    "LimitCORE": "0",
}


def service_settings(text):
    section, found = None, {}
    for line in text.splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            assert name not in found, f"{name} is set twice"
            found[name] = value
    return found


def check_units():
    for name, command in UNITS.items():
        settings = service_settings((DEPLOY / "systemd" / f"stratos-{name}.service").read_text())
        wrong = {key: settings.get(key) for key in HARDENED if settings.get(key) != HARDENED[key]}
        assert not wrong, f"stratos-{name}: {wrong}"
        assert settings["ExecStart"] == f"/usr/local/bin/stratos {command}", settings["ExecStart"]
        assert settings["StateDirectory"] == f"stratos/{name}"
        assert int(settings["TimeoutStopSec"]) >= 30 and int(settings["LimitNOFILE"]) >= 65536


def check_systemd_accepts_the_units():
    if shutil.which("systemd-analyze") is None:
        return "SKIP: systemd-analyze is not installed"
    with tempfile.TemporaryDirectory() as folder:
        for unit in (DEPLOY / "systemd").iterdir():
            # Neither program nor user is installed here, and systemd looks for both.
            text = unit.read_text().replace("/usr/local/bin/stratos", "/bin/true")
            text = text.replace("=stratos\n", "=daemon\n")
            (Path(folder) / unit.name).write_text(text)
        files = [str(path) for path in Path(folder).iterdir()]
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], check=False,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL)
        said = [line for line in done.stderr.splitlines() if "stratos-" in line]
        assert done.returncode == 0 and not said, done.stderr
    return None


def check_compose():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert list(services) == ["stratos"]
    service = services["stratos"]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] == "65532:65532" and not service.get("privileged")
    assert "cap_add" not in service and "environment" not in service
    assert all(str(port).startswith("127.0.0.1:") for port in service["ports"])
    assert service["volumes"] == ["data:/data"]
    assert service["healthcheck"]["test"][:3] == ["CMD", "/stratos", "health"]


def check_image():
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.split(None, 1) for line in lines if line and not line.startswith("#")]
    last_from = max(i for i, (word, _) in enumerate(steps) if word == "FROM")
    runtime = steps[last_from:]
    assert runtime[0][1] == "gcr.io/distroless/cc-debian12:nonroot", runtime[0]
    assert not any(word in ("RUN", "ADD") for word, _ in runtime), "the last stage runs nothing"
    wanted = {
        "USER": "65532:65532", "VOLUME": "/data", "ENTRYPOINT": '["/stratos"]',
        "CMD": '["up", "/data", "--listen", "0.0.0.0:9000"]',
    }
    for word, value in wanted.items():
        assert [rest for found, rest in runtime if found == word] == [value], word


def main():
    failed = 0
    for check in (check_units, check_systemd_accepts_the_units, check_compose, check_image):
        name = check.__name__.removeprefix("check_").replace("_", " ")
        try:
            print(f"ok {name}" if (note := check()) is None else f"{note} ({name})")
        except Exception as error:  # Each check is judged for itself.
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
