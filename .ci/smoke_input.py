"""Wrong input: one sentence that names the cause, exit code 1 or 2, nothing lost."""

import json
import os
import socket

from smoke_harness import Network, assert_all_read, make_objects


def one_sentence(context, *arguments, codes=(1, 2), seconds=30):
    """Runs what must fail and returns the one line `stratos: ...` that it says."""
    done = context.stratos(*arguments, expect=None, seconds=seconds)
    shown = " ".join(map(str, arguments))
    assert done.returncode in codes, f"`{shown}` ended with {done.returncode}: {done.stderr}"
    assert "panicked" not in done.stderr, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("stratos: ")]
    assert len(said) == 1, f"`{shown}` said: {done.stderr!r}"
    assert len(said[0]) > 30, said[0]
    return said[0]


def wrong_flags_end_with_2(context):
    folder = context.folder("wrong-flags")
    for wrong, named in [
        (["--nonsense"], "--nonsense"),
        (["--listen", "nowhere"], "nowhere"),
        (["--scheme", "banana"], "banana"),
        (["--scheme", "9+9", "--nodes", "6"], "9+9"),
        (["--scheme", "0+2"], "0+2"),
        (["--epoch", "soon"], "soon"),
        (["--epoch", "0s"], "0s"),
        (["--nodes", "-1"], "-1"),
    ]:
        done = context.stratos("up", folder / "data", *wrong, expect=2, seconds=30)
        assert named in done.stderr and "panicked" not in done.stderr, done.stderr
    assert not (folder / "data").exists(), "a refused command made the folder"
    done = context.stratos("teleport", expect=2)
    assert "teleport" in done.stderr, done.stderr


def a_folder_that_cannot_be_written_is_named(context):
    file = context.folder("unwritable") / "a file"
    file.write_text("mine")
    sentence = one_sentence(context, "up", file, "--listen", "127.0.0.1:0")
    assert "a file" in sentence, sentence
    one_sentence(context, "up", file / "below", "--listen", "127.0.0.1:0")
    # Nobody can make a folder there, not even root.
    sentence = one_sentence(context, "up", "/proc/stratos", "--listen", "127.0.0.1:0")
    assert "/proc/stratos" in sentence, sentence
    assert file.read_text() == "mine"
    if os.geteuid() != 0:
        locked = context.folder("locked")
        locked.chmod(0o500)
        assert "locked" in one_sentence(context, "up", locked / "data")


def a_port_in_use_is_named(context):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = one_sentence(context, "up", context.scratch / "port-in-use",
                                "--listen", f"127.0.0.1:{port}")
    assert str(port) in sentence, sentence
    # The folder is not spoilt by it.
    network = Network(context, "port-in-use")
    network.start()
    assert network.stop() == 0


def a_folder_with_other_files_is_left_alone(context):
    folder = context.folder("photos")
    (folder / "holiday.jpg").write_bytes(b"a photo")
    sentence = one_sentence(context, "up", folder, "--listen", "127.0.0.1:0")
    assert "photos" in sentence, sentence
    assert [path.name for path in folder.iterdir()] == ["holiday.jpg"]
    assert (folder / "holiday.jpg").read_bytes() == b"a photo"


def damaged_and_newer_files_are_refused_and_nothing_is_lost(context):
    network = Network(context, "damaged")
    network.start()
    made = make_objects(network.s3(), "damaged", [0, 100, 50_000])
    assert network.stop() == 0
    file = network.dir / "network.json"
    good = file.read_bytes()

    def refused_with(data):
        file.write_bytes(data)
        sentence = one_sentence(context, "up", network.dir, "--listen", "127.0.0.1:0")
        assert file.read_bytes() == data, "the refused file was changed"
        return sentence

    assert "network.json" in refused_with(good[:len(good) // 2])
    assert "network.json" in refused_with(b"")
    newer = json.loads(good)
    field, = [name for name in newer if "format" in name or name == "version"]
    newer[field] = 999
    assert "999" in refused_with(json.dumps(newer).encode())
    file.write_bytes(good)
    network.start()
    assert_all_read(network.s3(), "damaged", made)
    assert network.stop() == 0


def commands_without_a_network_say_how_to_start_one(context):
    folder = context.folder("nothing-runs")
    sentence = one_sentence(context, "bucket", "list", "--data", folder)
    assert "stratos up" in sentence, sentence
    one_sentence(context, "health", "--endpoint", "http://127.0.0.1:9", codes=(1,))


def a_missing_or_foreign_export_is_named(context):
    sentence = one_sentence(context, "ledger", "verify", "/no/such/file", codes=(1, 2))
    assert "/no/such/file" in sentence, sentence
    foreign = context.folder("foreign-export") / "shopping.txt"
    foreign.write_text("milk\nbread\n")
    one_sentence(context, "ledger", "verify", foreign, codes=(1, 2))


def unknown_keys_and_wrong_values_in_role_files_are_named(context):
    folder = context.folder("role-files")
    for role, text, named in [
        ("node", f'dir = "{folder}/n"\ncapacity = 5\n', "capacity"),
        ("ledger", f'dir = "{folder}/l"\nepoch_seconds = "ten"\n', "ledger.toml line 2"),
        ("gateway", f'dir = "{folder}/g"\nlisten = 9000\n', "gateway.toml line 2"),
        ("gateway", f'dir = "{folder}/g"\nwrite_quorum = 4\n', "write_quorum"),
        ("node", f'dir = "{folder}/n"\nlisten = "0.0.0.0:4433"\n', "advertise"),
        ("gateway", "dir = \n", "gateway.toml"),
    ]:
        file = folder / f"{role}.toml"
        file.write_text(text)
        sentence = one_sentence(context, role, "-c", file, codes=(2,))
        assert named in sentence, sentence
    sentence = one_sentence(context, "node", "-c", folder / "absent.toml", codes=(2,))
    assert "absent.toml" in sentence, sentence
    assert not (folder / "n").exists() and not (folder / "g").exists()


CHECKS = [
    wrong_flags_end_with_2,
    a_folder_that_cannot_be_written_is_named,
    a_port_in_use_is_named,
    a_folder_with_other_files_is_left_alone,
    damaged_and_newer_files_are_refused_and_nothing_is_lost,
    commands_without_a_network_say_how_to_start_one,
    a_missing_or_foreign_export_is_named,
    unknown_keys_and_wrong_values_in_role_files_are_named,
]
