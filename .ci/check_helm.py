#!/usr/bin/env python3
"""Renders the chart in both modes and asserts what it promises.

    check_helm.py --helm PATH [--binary target/release/stratos]

Every rendered object is also validated against the schema of Kubernetes. With
--binary, the rendered configuration files are given to the real program.
Needs PyYAML and kubernetes-validate.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate
import yaml

CHART = Path(__file__).resolve().parent.parent / "helm" / "stratos"
LEDGER_ID = "1a" * 32
GATEWAY_ID = "2b" * 32
REQUIRED = {
    "cluster.ledgerId": LEDGER_ID,
    "cluster.gatewayId": GATEWAY_ID,
    "cluster.keySecret": "my-keys",
    "cluster.inviteSecret": "my-invites",
}
CLUSTER = {"mode": "cluster", **REQUIRED}
KUBERNETES = "1.37"

# What the "restricted" Pod Security Standard and this chart ask of every container.
CONTAINER_SECURITY = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral",
    "persistentVolumeClaim", "projected", "secret",
}
ROLES = {
    "single": {"single"},
    "cluster": {"gateway", "ledger", "node"},
}


class Chart:
    """Runs helm on the chart."""

    def __init__(self, helm):
        self.helm = helm

    def run(self, command, values):
        settings = [part for k, v in values.items() for part in ("--set-string", f"{k}={v}")]
        return subprocess.run(
            [self.helm, *command, str(CHART), *settings],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=120,
        )

    def render(self, values, *options):
        done = self.run(["template", "probe", *options], values)
        assert done.returncode == 0, f"helm template failed with {values}: {done.stderr}"
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    def refusal(self, values):
        done = self.run(["template", "probe"], values)
        assert done.returncode != 0, f"helm template accepted {values}"
        return done.stderr


def of_kind(objects, kind):
    return [item for item in objects if item["kind"] == kind]


def role_of(item):
    return item["metadata"]["labels"]["app.kubernetes.io/component"]


def pods(objects):
    """Each workload with its pod's spec. Knows every kind that runs pods, so that none slips by."""
    for item in objects:
        spec = item.get("spec") or {}
        if item["kind"] == "Pod":
            yield item, spec
        elif item["kind"] == "CronJob":
            yield item, spec["jobTemplate"]["spec"]["template"]["spec"]
        elif "template" in spec:
            yield item, spec["template"]["spec"]


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"] + pod.get("ephemeralContainers", [])


def matches(selector, item):
    labels = item["spec"]["template"]["metadata"]["labels"]
    return all(labels.get(key) == value for key, value in selector.items())


def check_lint(chart, mode, values, objects):
    done = chart.run(["lint", "--strict"], values)
    assert done.returncode == 0, done.stdout + done.stderr


def check_kubernetes_accepts_every_object(chart, mode, values, objects):
    for item in objects:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


def check_the_workloads_of_the_mode_are_there(chart, mode, values, objects):
    assert {role_of(item) for item, _ in pods(objects)} == ROLES[mode]
    assert all(item["kind"] == "StatefulSet" for item, _ in pods(objects))
    replicas = {role_of(item): item["spec"]["replicas"] for item, _ in pods(objects)}
    assert replicas.pop("node", 6) == 6
    assert set(replicas.values()) == {1}, replicas


def check_every_pod_is_restricted(chart, mode, values, objects):
    for item, pod in pods(objects):
        for key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            assert not pod.get(key), f"{key} in {item['metadata']['name']}"
        security = pod["securityContext"]
        for key, wanted in POD_SECURITY.items():
            assert security.get(key) == wanted, f"{key} is {security.get(key)}"
        for container in containers(pod):
            assert container["securityContext"] == CONTAINER_SECURITY, container["securityContext"]
            assert not any("hostPort" in port for port in container.get("ports", []))
        for volume in pod.get("volumes", []):
            kinds = set(volume) - {"name"}
            assert kinds <= RESTRICTED_VOLUMES, f"volume {volume}"


def check_no_pod_gets_a_service_account_token(chart, mode, values, objects):
    for item, pod in pods(objects):
        assert pod["automountServiceAccountToken"] is False, item["metadata"]["name"]
        for volume in pod.get("volumes", []):
            for source in volume.get("projected", {}).get("sources", []):
                assert "serviceAccountToken" not in source, volume
    kinds = {item["kind"] for item in objects}
    assert not kinds & {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}, kinds


def check_secrets_are_never_made_and_never_in_the_environment(chart, mode, values, objects):
    assert not of_kind(objects, "Secret"), "the chart makes no secrets"
    for item, pod in pods(objects):
        for container in containers(pod):
            assert not container.get("envFrom"), item["metadata"]["name"]
            for variable in container.get("env", []):
                assert "secretKeyRef" not in variable.get("valueFrom", {}), variable
        for volume in pod.get("volumes", []):
            if "secret" in volume:
                assert volume["secret"]["secretName"] in values.values(), volume
                assert volume["secret"]["defaultMode"] == 0o400, volume
                assert not volume["secret"].get("optional"), volume
    text = yaml.safe_dump_all(of_kind(objects, "ConfigMap"))
    assert not re.search(r"(?i)(secret|password|token|invite|private)\w* *=", text), text


def check_each_role_sees_its_own_key_only(chart, mode, values, objects):
    for item, pod in pods(objects):
        shown = {
            entry["key"]
            for volume in pod.get("volumes", [])
            if volume.get("secret", {}).get("secretName") == "my-keys"
            for entry in volume["secret"]["items"]
        }
        role = role_of(item)
        assert shown == ({f"{role}.key"} if role in ("gateway", "ledger") else set()), shown


def check_three_probes_on_every_container(chart, mode, values, objects):
    for item, pod in pods(objects):
        for container in pod["containers"]:
            ports = {port["name"]: port["protocol"] for port in container["ports"]}
            wanted = {
                "startupProbe": "/health/live",
                "livenessProbe": "/health/live",
                "readinessProbe": "/health/ready",
            }
            for probe, path in wanted.items():
                get = container[probe]["httpGet"]
                assert get["path"] == path, f"{probe} of {item['metadata']['name']}: {get}"
                assert ports.get(get["port"]) == "TCP", f"{probe} asks a port that is not served"


def check_pods_have_limits_and_time_to_stop(chart, mode, values, objects):
    for item, pod in pods(objects):
        assert pod["terminationGracePeriodSeconds"] >= 30
        for container in containers(pod):
            resources = container["resources"]
            assert {"cpu", "memory"} <= set(resources["requests"]), resources
            assert "memory" in resources["limits"], resources
        if role_of(item) in ("single", "gateway"):
            pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert 0 < pause < pod["terminationGracePeriodSeconds"]


def check_data_is_on_a_volume_that_stays(chart, mode, values, objects):
    for item, pod in pods(objects):
        claim, = item["spec"]["volumeClaimTemplates"]
        assert claim["spec"]["accessModes"] == ["ReadWriteOnce"], claim
        kept = item["spec"]["persistentVolumeClaimRetentionPolicy"]
        assert set(kept.values()) == {"Retain"} and len(kept) == 2, kept
        mounts = pod["containers"][0]["volumeMounts"]
        data, = [mount for mount in mounts if mount["mountPath"] == "/data"]
        assert data["name"] == claim["metadata"]["name"]
        # The root of an ext4 volume holds lost+found, which is not ours.
        assert data["subPath"], data
        written = {mount["name"] for mount in mounts if not mount.get("readOnly")}
        assert written == {"data", "tmp"}, written


def check_services_find_pods_and_their_ports(chart, mode, values, objects):
    sets = [item for item, _ in pods(objects)]
    names = {service["metadata"]["name"] for service in of_kind(objects, "Service")}
    for item in sets:
        assert item["spec"]["serviceName"] in names, item["spec"]["serviceName"]
    for service in of_kind(objects, "Service"):
        chosen = [item for item in sets if matches(service["spec"]["selector"], item)]
        assert len(chosen) == 1, service["metadata"]["name"]
        served = {
            (port["name"], port["protocol"])
            for port in chosen[0]["spec"]["template"]["spec"]["containers"][0]["ports"]
        }
        for port in service["spec"]["ports"]:
            assert (port["targetPort"], port["protocol"]) in served, port


def check_every_pod_has_a_disruption_budget(chart, mode, values, objects):
    budgets = of_kind(objects, "PodDisruptionBudget")
    for item, _ in pods(objects):
        own = [b for b in budgets if matches(b["spec"]["selector"]["matchLabels"], item)]
        assert len(own) == 1 and own[0]["spec"]["maxUnavailable"] == 1, role_of(item)


def check_network_policies_let_in_and_out_only_what_is_needed(chart, mode, values, objects):
    policies = {role_of(policy): policy["spec"] for policy in of_kind(objects, "NetworkPolicy")}
    assert set(policies) == ROLES[mode]
    for item, _ in pods(objects):
        spec = policies[role_of(item)]
        assert matches(spec["podSelector"]["matchLabels"], item)
        assert spec["policyTypes"] == ["Ingress", "Egress"]
    into = {
        role: {
            (port["port"], peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"])
            for rule in spec["ingress"] for port in rule["ports"] for peer in rule.get("from", [])
        }
        for role, spec in policies.items()
    }
    dialled = {
        role: {port["port"] for rule in spec["egress"] for port in rule["ports"]}
        for role, spec in policies.items()
    }
    if mode == "single":
        assert dialled == {"single": set()}, dialled
        return
    assert into["node"] == {("quic", "gateway")}, into
    assert into["ledger"] == {("quic", "gateway"), ("quic", "node")}, into
    assert dialled == {"gateway": {53, 4400, 4433}, "node": {53, 4400}, "ledger": set()}, dialled


def check_the_admin_port_is_nowhere(chart, mode, values, objects):
    for item, pod in pods(objects):
        for container in containers(pod):
            assert all(port["containerPort"] != 9001 for port in container["ports"])
    for config in of_kind(objects, "ConfigMap"):
        for text in config["data"].values():
            for line in re.findall(r"^admin_listen.*$", text, re.MULTILINE):
                assert line == 'admin_listen = "127.0.0.1:9001"', line


def check_a_changed_setting_restarts_the_pods(chart, mode, values, objects):
    if mode == "single":
        changed = chart.render({**values, "single.epoch": "60s"})
    else:
        changed = chart.render({**values, "region": "eu-west-1"})
    template = lambda items, role: next(
        item["spec"]["template"] for item, _ in pods(items) if role_of(item) == role
    )
    role = "single" if mode == "single" else "gateway"
    assert template(objects, role) != template(changed, role)


def check_a_digest_pins_the_image(chart, mode, values, objects):
    digest = "sha256:" + "0" * 64
    for _, pod in pods(chart.render({**values, "image.digest": digest})):
        assert pod["containers"][0]["image"] == f"stratos@{digest}"


def check_a_tls_secret_makes_the_s3_port_https(chart, mode, values, objects):
    secure = chart.render({**values, "tls.secretName": "my-tls"})
    for item in secure:
        kubernetes_validate.validate(item, KUBERNETES, strict=True)
    for item, pod in pods(secure):
        container = pod["containers"][0]
        is_s3 = role_of(item) in ("single", "gateway")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["scheme"] == ("HTTPS" if is_s3 else "HTTP")
        secrets = [v["secret"] for v in pod.get("volumes", []) if v["name"] == "tls"]
        assert len(secrets) == int(is_s3), secrets
        if is_s3:
            assert secrets[0]["secretName"] == "my-tls" and secrets[0]["defaultMode"] == 0o400
            mount, = [m for m in container["volumeMounts"] if m["name"] == "tls"]
            # A file mounted alone would not follow a renewal.
            assert mount["readOnly"] and "subPath" not in mount, mount
        if role_of(item) == "single":
            assert "--tls" in container["args"] and mount["mountPath"] == "/data/tls"
        if role_of(item) == "gateway":
            text = yaml.safe_dump_all(of_kind(secure, "ConfigMap"))
            assert f'tls_cert = "{mount["mountPath"]}/cert.pem"' in text, text
            assert f'tls_key = "{mount["mountPath"]}/key.pem"' in text, text


EACH_MODE = [check for name, check in sorted(globals().items()) if name.startswith("check_")]


def refuse_cluster_without_what_it_needs(chart):
    for missing in REQUIRED:
        message = chart.refusal({k: v for k, v in CLUSTER.items() if k != missing})
        assert f"{missing} is required in mode cluster: " in message, message


def refuse_values_that_mean_nothing(chart):
    wrong = {
        "clutser.ledgerId": ("x", "clutser"),
        "mode": ("both", "mode"),
        "cluster.ledgerId": ("xyz", "ledgerId"),
        "scheme": ("4-2", "scheme"),
        "image.digest": ("latest", "digest"),
        "service.type": ("ExternalName", "service"),
    }
    for name, (value, named) in wrong.items():
        message = chart.refusal({name: value})
        assert named in message, message


def refuse_a_scheme_that_does_not_fit(chart):
    message = chart.refusal({"scheme": "8+4"})
    assert "single.nodes is 6, but scheme 8+4 puts 12 shards" in message, message
    message = chart.refusal({**CLUSTER, "scheme": "8+4"})
    assert "cluster.node.replicas is 6, but scheme 8+4" in message, message
    message = chart.refusal({**CLUSTER, "scheme": "2+4", "cluster.dnsDomain": ""})
    assert "dnsDomain" in message, message
    message = chart.refusal({**CLUSTER, "scheme": "5+1"})
    assert "writeQuorum is 5, but with scheme 5+1 it must be from 6 to 6" in message, message


ONCE = [refuse_cluster_without_what_it_needs, refuse_values_that_mean_nothing,
        refuse_a_scheme_that_does_not_fit]


def the_program_reads_the_rendered_files(binary, objects):
    """Each role reads its file, with a folder of this machine for the pod's volume."""
    with tempfile.TemporaryDirectory() as folder:
        for config in of_kind(objects, "ConfigMap"):
            (name, text), = config["data"].items()
            data = Path(folder) / Path(name).stem
            path = Path(folder) / name
            path.write_text(text.replace('dir = "/data"', f'dir = "{data}"'))
            done = subprocess.run(
                [binary, Path(name).stem, "-c", str(path), "--print-id"],
                capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60,
            )
            assert done.returncode == 0, f"{name}: {done.stderr}"
            assert re.fullmatch(r"[0-9a-f]{64}\n", done.stdout), f"{name}: {done.stdout!r}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--helm", default="helm")
    parser.add_argument("--binary")
    options = parser.parse_args()
    chart = Chart(options.helm)
    failed = total = 0

    def attempt(name, check, *arguments):
        nonlocal failed, total
        total += 1
        try:
            check(*arguments)
            print(f"ok {name}")
        except Exception as error:  # Each check is judged for itself.
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}")

    for mode, values in (("single", {}), ("cluster", CLUSTER)):
        objects = chart.render(values)
        for check in EACH_MODE:
            name = check.__name__.removeprefix("check_").replace("_", " ")
            attempt(f"{mode}: {name}", check, chart, mode, values, objects)
    for check in ONCE:
        attempt(check.__name__.replace("_", " "), check, chart)
    if options.binary:
        attempt("the program reads the rendered files",
                the_program_reads_the_rendered_files, options.binary, chart.render(CLUSTER))
    print(f"helm chart: {total} checks, {failed} wrong")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
