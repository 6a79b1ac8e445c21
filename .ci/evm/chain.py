"""A chain of its own on this machine: anvil, and the little that is asked of it directly."""

import json
import re
import subprocess
import threading
import urllib.request
from pathlib import Path


class Chain:
    """Anvil on a free port of the loopback, with the rules of the Paris fork."""

    def __init__(self, modules: Path, folder: Path):
        program, = modules.glob("node_modules/@foundry-rs/anvil-*/bin/anvil")
        accounts = folder / "accounts.json"
        self.process = subprocess.Popen(
            [program, "--host", "127.0.0.1", "--port", "0", "--hardfork", "paris",
             "--config-out", accounts],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
        self.url = self._listening()
        # It goes on talking, and would stop when nobody listened.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        config = json.loads(accounts.read_text())
        self.accounts = config["available_accounts"]
        self.keys = config["private_keys"]

    def _listening(self) -> str:
        for line in self.process.stdout:
            if found := re.search(r"Listening on (127\.0\.0\.1:\d+)", line):
                return f"http://{found[1]}"
        raise RuntimeError(f"anvil ended with {self.process.wait()} before it listened")

    def stop(self) -> None:
        """Ends the one process that was started."""
        self.process.kill()
        self.process.wait()

    def ask(self, method: str, *params):
        """The result of a call, or {"error": ...} with what was said about it."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        request = urllib.request.Request(
            self.url, body.encode(), {"Content-Type": "application/json"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                request, timeout=30) as answer:
            said = json.load(answer)
        return {"error": said["error"]} if "error" in said else said["result"]

    def send(self, sender: str, data: str, to: str | None = None) -> dict:
        """The receipt of a transaction, even of one that the contract undoes."""
        transaction = {"from": sender, "data": data, "gas": hex(3_000_000)}
        if to:
            transaction["to"] = to
        receipt = self.ask("eth_sendTransactionSync", transaction)
        assert "status" in receipt, receipt
        return receipt

    def pass_time(self, seconds: int) -> None:
        self.ask("evm_increaseTime", seconds)
        self.ask("evm_mine")


def word(value: int | str) -> str:
    """32 bytes of arguments, as hex digits."""
    number = int(value, 16) if isinstance(value, str) else value
    return f"{number:064x}"


class Contract:
    """Calls by the selectors that the artefact names."""

    def __init__(self, artefact: Path):
        built = json.loads(artefact.read_text())
        self.selectors, self.bytecode = built["selectors"], built["bytecode"]

    def data(self, signature: str, *words: int | str) -> str:
        return self.selectors[signature] + "".join(map(word, words))

    def claim(self, account: str, cumulative: int, proof: list[str]) -> str:
        """A claim of anything, which the program would not make."""
        return self.data("claim(address,uint256,bytes32[])", account, cumulative, 96,
                         len(proof), *proof)
