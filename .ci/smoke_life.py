"""Commands, money, and starting again, on the shared network. Runs after the traffic."""

import json
import stat

from smoke_harness import KIB, MIB, Network, assert_all_read, content, make_objects, wait_until
from smoke_input import one_sentence
from smoke_s3 import refused


def endpoint_json_is_private_and_complete(network):
    file = network.dir / "endpoint.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600, oct(file.stat().st_mode)
    wanted = {"endpoint", "region", "access_key_id", "secret_access_key", "admin_endpoint"}
    assert wanted <= network.endpoint.keys(), network.endpoint.keys()
    assert network.endpoint["region"] == "us-east-1"


def up_prints_lines_to_paste(network):
    text = network.log.read_text()
    for word in (network.endpoint["endpoint"], "aws ", "rclone"):
        assert word in text, f"{word} is not in the output of up"


def the_program_tells_its_health(network):
    network.context.stratos("health", "--endpoint", network.url())
    network.context.stratos("health", "--endpoint", "http://127.0.0.1:9", expect=1)


def accounts_and_keys_are_made(network):
    made = network.cli("account", "create", "alice", "--display-name", "Alice A.",
                       "--email", "alice@example.com")
    assert made["name"] == "alice" and made["display_name"] == "Alice A.", made
    assert made["email"] == "alice@example.com" and made["canonical_id"], made
    key = network.cli("key", "create", "--account", "alice")
    assert key["account"] == "alice", key
    alice = network.s3(key)
    alice.create_bucket(Bucket="alices")
    alice.put_object(Bucket="alices", Key="k", Body=b"hers")
    assert [bucket["Name"] for bucket in alice.list_buckets()["Buckets"]] == ["alices"]
    assert "alices" not in [b["Name"] for b in network.s3().list_buckets()["Buckets"]]
    with refused("AccessDenied", 403):
        network.s3().get_object(Bucket="alices", Key="k")
    with refused("AccessDenied", 403):
        network.s3().get_object(Bucket="alices", Key="absent")
    with refused("AccessDenied", 403):
        network.s3().put_object(Bucket="alices", Key="k", Body=b"not hers")
    shown = network.cli("account", "show", "alice")
    assert shown["name"] == "alice" and shown["canonical_id"] == made["canonical_id"], shown
    owned = [b for b in network.cli("bucket", "list")["buckets"] if b["name"] == "alices"]
    assert [(b["account"], b["objects"], b["bytes"]) for b in owned] == [("alice", 1, 4)], owned


def nodes_are_paid_for_the_traffic(network):
    def paid():
        epochs = network.cli("epoch", "list", "--last", "100")["epochs"]
        return [e for e in epochs if int(e["debited"]) > 0 and int(e["paid"]) > 0]

    epoch = wait_until(60, "epoch that debited and paid", paid, every=0.5, log=network.log)[0]
    assert {"epoch", "state", "bytes", "tax", "treasury"} <= epoch.keys(), epoch
    assert int(epoch["bytes"]) > 0, epoch
    assert int(epoch["paid"]) + int(epoch["tax"]) <= int(epoch["debited"]), epoch
    return f"epoch {epoch['epoch']} paid {int(epoch['paid']) / 1e18:.6f} credits"


def nodes_show_what_they_earned_and_store(network):
    nodes = network.cli("node", "list")["nodes"]
    assert len(nodes) == 6, len(nodes)
    assert all(int(node["earned"]) > 0 for node in nodes), nodes
    assert all(node["stored"] > 0 and node["shards"] > 0 for node in nodes), nodes
    assert all({"immature", "score", "state", "addr"} <= node.keys() for node in nodes), nodes
    wait_until(60, "matured payment",
               lambda: any(int(n["mature"]) > 0 for n in network.cli("node", "list")["nodes"]),
               every=0.5)


def the_account_shows_what_it_spent(network):
    account = network.cli("account", "show", network.first_account())
    assert int(account["spent"]) > 0, account
    assert int(account["balance"]) > 0, account
    assert int(account["available"]) + int(account["reserved"]) == int(account["balance"]), account
    assert account["runway_seconds"] is None or account["runway_seconds"] > 0, account
    assert account["stored_bytes"] > 0, account


def the_exported_ledger_replays_and_conserves(network):
    export = network.context.scratch / "ledger.ndjson"
    network.context.stratos("ledger", "export", "--data", network.dir, export)
    done = network.context.stratos("ledger", "verify", export, "--json")
    verdict = json.loads(done.stdout)
    assert verdict["conserved"] is True and verdict["first_bad_height"] is None, verdict
    assert verdict["blocks"] > 0 and verdict["entries"] > 0, verdict
    return f"{verdict['blocks']} blocks, {verdict['entries']} entries"


def a_flipped_byte_in_the_export_is_found(network):
    good = (network.context.scratch / "ledger.ndjson").read_bytes()
    spoilt = network.context.scratch / "spoilt.ndjson"
    for number in range(1, 10):
        place = len(good) * number // 10
        data = bytearray(good)
        data[place] ^= 1
        spoilt.write_bytes(data)
        done = network.context.stratos("ledger", "verify", spoilt, expect=None)
        assert done.returncode == 1, f"byte {place} of {len(good)}: code {done.returncode}"


def a_second_up_on_the_same_folder_says_so(network):
    sentence = one_sentence(network.context, "up", network.dir, "--listen", "127.0.0.1:0")
    assert str(network.dir) in sentence, sentence
    # And the first one did not notice.
    network.s3().list_buckets()


def a_stop_and_a_start_keep_keys_and_data(network):
    made = make_objects(network.s3(), "kept", [0, 1, 4096, 4097, 300 * KIB, 20 * MIB])
    before = network.endpoint
    code = network.stop()
    assert code == 0, f"SIGTERM ended with {code}"
    seconds = network.start()
    for field in ("region", "access_key_id", "secret_access_key"):
        assert network.endpoint[field] == before[field], field
    assert_all_read(network.s3(), "kept", made)
    return f"ready again after {seconds:.2f} s"


def a_stop_lets_a_transfer_finish(network):
    own = Network(network.context, "draining")
    own.start()
    s3 = own.s3()
    s3.create_bucket(Bucket="draining")
    data = content("draining", 64 * MIB)
    s3.put_object(Bucket="draining", Key="k", Body=data)
    stream = s3.get_object(Bucket="draining", Key="k")["Body"]
    begin = stream.read(MIB)
    own.process.terminate()
    assert begin + stream.read() == data, "the download was cut"
    stream.close()
    s3.close()
    assert own.process.wait(60) == 0


CHECKS = [
    endpoint_json_is_private_and_complete,
    up_prints_lines_to_paste,
    the_program_tells_its_health,
    accounts_and_keys_are_made,
    nodes_are_paid_for_the_traffic,
    nodes_show_what_they_earned_and_store,
    the_account_shows_what_it_spent,
    the_exported_ledger_replays_and_conserves,
    a_flipped_byte_in_the_export_is_found,
    a_second_up_on_the_same_folder_says_so,
    a_stop_and_a_start_keep_keys_and_data,
    a_stop_lets_a_transfer_finish,
]
