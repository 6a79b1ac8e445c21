#!/usr/bin/env python3
"""Withdrawals of a ledger are paid on a chain, exactly and once.

    .ci/evm/run.py --program target/debug/stratos-evm --world target/debug/examples/world
        --modules DIR

DIR holds node_modules of evm/package.json. The chain is an anvil of this test's own on the
loopback. The exit code is 1 when a check failed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from chain import Chain, Contract  # noqa: E402

ARTIFACTS = Path(__file__).resolve().parents[2] / "evm" / "artifacts"
SUPPLY = 10**24
DELAY = 3_600
CHECKS = {"passed": 0, "failed": 0}


def check(name: str, holds: bool, seen: object = "") -> None:
    CHECKS["passed" if holds else "failed"] += 1
    print(f"{'ok' if holds else 'FAILED'}: {name}" + ("" if holds else f": {seen}"), flush=True)


class Test:
    """The chain, the contract on it, and the program that is tested."""

    def __init__(self, options, folder: Path, chain: Chain):
        self.program, self.chain = options.program, chain
        self.export = folder / "ledger.ndjson"
        self.deployer, self.poster, self.guardian, self.anyone, *self.addresses = \
            chain.accounts[:7]
        self.keys = {}
        for address, key in zip(chain.accounts, chain.keys):
            path = folder / f"{address}.key"
            path.touch(mode=0o600)
            path.write_text(key)
            self.keys[address] = path
        self.epochs = json.loads(subprocess.check_output(
            [options.world, self.export, *self.addresses]))["epochs"]
        self.token, self.claims = (Contract(ARTIFACTS / f"{name}.json")
                                   for name in ("TestToken", "StratosClaims"))
        self.contract = self.token_at = None

    def run(self, *arguments, key: str | None = None) -> tuple[dict, str]:
        """What the program prints, or {} and what it complains of."""
        command = [self.program, *map(str, arguments), "--json"]
        if key:
            command += ["--key-file", self.keys[key]]
        environment = {**os.environ, "STRATOS_EVM_RPC": self.chain.url}
        if self.contract:
            environment["STRATOS_EVM_CONTRACT"] = self.contract
        done = subprocess.run(command, env=environment, text=True, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert (done.returncode == 0) == (not done.stderr), (done.returncode, done.stderr)
        return json.loads(done.stdout or "{}"), done.stderr.strip()

    def balance(self, account: str) -> int:
        data = self.token.data("balanceOf(address)", account)
        return int(self.chain.ask("eth_call", {"to": self.token_at, "data": data}, "latest"), 16)

    def owed(self, nth: int) -> dict[str, int]:
        return {address: int(amount) for address, amount in self.epochs[nth]["leaves"]}

    def post(self, nth: int, key: str) -> tuple[dict, str]:
        return self.run("post", self.export, "--epoch", self.epochs[nth]["epoch"], key=key)

    def claim(self, address: str) -> tuple[dict, str]:
        """By somebody who is not the one that is paid."""
        return self.run("claim", self.export, address, key=self.anyone)

    def refused_by_contract(self, name: str, data: str, error: str) -> None:
        """Mined and undone, for this very reason, and nobody was paid."""
        before = self.balance(self.contract)
        receipt = self.chain.send(self.anyone, data, self.contract)
        why = self.chain.ask("eth_call", {"to": self.contract, "data": data}, "latest")
        selector = self.claims.selectors[error]
        said = why["error"].get("data", "") if isinstance(why, dict) else why
        holds = receipt["status"] == "0x0" and said.startswith(selector)
        check(name, holds and self.balance(self.contract) == before, (receipt["status"], why))


def refused(name: str, outcome: tuple[dict, str], words: str) -> None:
    check(name, not outcome[0] and words in outcome[1], outcome)


def deploys(test: Test) -> None:
    made = test.chain.send(test.deployer, test.token.bytecode + f"{SUPPLY:064x}")
    test.token_at = made["contractAddress"]
    parts = ["deploy", "--token", test.token_at, "--poster", test.poster,
             "--guardian", test.guardian, "--delay"]
    refused("a contract without a delay is refused", test.run(*parts, 0, key=test.deployer),
            "delay must be")
    made, complaint = test.run(*parts, DELAY, key=test.deployer)
    check("the contract is deployed", "contract" in made, complaint)
    code = test.chain.ask("eth_getCode", made["contract"], "latest")
    check("there is code at its address", len(code) > 1_000, code)
    test.contract = test.token_at
    _, complaint = test.run("post", test.export, key=test.poster)
    check("another contract is noticed", "no StratosClaims at" in complaint, complaint)
    test.contract = made["contract"]
    supply = test.token.data("transfer(address,uint256)", test.contract, SUPPLY)
    test.chain.send(test.deployer, supply, test.token_at)
    check("the contract has tokens", test.balance(test.contract) == SUPPLY)


def agrees_with_openzeppelin(test: Test, modules: Path) -> None:
    script = Path(__file__).resolve().parent / "openzeppelin.mjs"
    for epoch in test.epochs:
        ours, complaint = test.run("root", test.export, "--leaves", "--epoch", epoch["epoch"])
        theirs = json.loads(subprocess.run(
            ["node", script], input=json.dumps(ours), text=True, check=True,
            stdout=subprocess.PIPE, env={**os.environ, "STRATOS_EVM_MODULES": modules}).stdout)
        check(f"the root of epoch {epoch['epoch']} is OpenZeppelin's",
              ours.get("root") == theirs["root"], (ours, complaint, theirs))
        proofs = {address: test.run("proof", test.export, address, "--epoch",
                                    epoch["epoch"])[0].get("proof")
                  for address in theirs["proofs"]}
        check(f"so are its {len(proofs)} proofs", proofs == theirs["proofs"], proofs)


def waits_and_vetoes(test: Test) -> None:
    address = test.addresses[0]
    refused("nobody but the poster posts", test.post(0, test.guardian), "not the poster's")
    refused("without a root nothing is claimed", test.claim(address), "no root yet")
    posted, complaint = test.post(0, test.poster)
    check("the poster posts", "root" in posted, complaint)
    refused("a root does not hold before its delay", test.claim(address), "no root yet")
    proof, _ = test.run("proof", test.export, address, "--epoch", test.epochs[0]["epoch"])
    data = test.claims.claim(address, int(proof["cumulative"]), proof["proof"])
    test.refused_by_contract("nor for the contract", data, "NoRoot()")
    refused("a second root must wait for the first", test.post(1, test.poster), "still waits")
    epoch = test.epochs[0]["epoch"]
    refused("nobody but the guardian vetoes", test.run("veto", epoch, key=test.poster),
            "not the guardian's")
    refused("a veto names the epoch", test.run("veto", epoch + 1, key=test.guardian),
            "no root of epoch")
    done, complaint = test.run("veto", epoch, key=test.guardian)
    check("the guardian vetoes", "transaction" in done, complaint)
    test.chain.pass_time(DELAY)
    refused("a root that was vetoed never holds", test.claim(address), "no root yet")


def pays_exactly(test: Test) -> None:
    check("an epoch that was vetoed is posted again", "root" in test.post(0, test.poster)[0])
    test.chain.pass_time(DELAY)
    epoch = test.epochs[0]["epoch"]
    refused("after the delay a veto comes too late", test.run("veto", epoch, key=test.guardian),
            "no root of epoch")
    address, amount = test.addresses[0], test.owed(0)[test.addresses[0]]
    proof = test.run("proof", test.export, address, "--epoch", epoch)[0]["proof"]
    cases = [("a forged amount", address, amount + 1, proof),
             ("somebody else's proof", test.anyone, amount, proof),
             ("a wrong proof", address, amount, [hex(int(proof[0], 16) ^ 1), *proof[1:]]),
             ("no proof", address, amount, [])]
    for name, account, cumulative, shown in cases:
        test.refused_by_contract(f"{name} is refused",
                                 test.claims.claim(account, cumulative, shown), "BadProof()")
    done, complaint = test.claim(address)
    check("a claim is done", "transaction" in done, complaint)
    check("it pays exactly what was withdrawn", test.balance(address) == amount)
    check("and only that leaves", test.balance(test.contract) == SUPPLY - amount)
    refused("a second claim is refused", test.claim(address), "nothing is due")
    test.refused_by_contract("also by the contract", test.claims.claim(address, amount, proof),
                             "NothingDue()")
    refused("who withdrew nothing has no leaf", test.claim(test.anyone), "has no leaf")


def pays_the_difference(test: Test) -> None:
    refused("an epoch is not posted twice", test.post(0, test.poster), "a later epoch")
    check("the next epoch is posted", "root" in test.post(1, test.poster)[0])
    refused("the root before holds meanwhile", test.claim(test.addresses[0]), "nothing is due")
    test.chain.pass_time(DELAY)
    owed = test.owed(1)
    for address in test.addresses:
        done, complaint = test.claim(address)
        check(f"{address} claims", "transaction" in done, complaint)
        check("it has all that was ever withdrawn to it, once",
              test.balance(address) == owed[address], test.balance(address))
    left = test.balance(test.contract)
    check("nothing else left", left == SUPPLY - sum(owed.values()), left)


def shows_and_warns(test: Test) -> None:
    status, complaint = test.run("status", test.export, "--account", test.addresses[0])
    last = test.epochs[1]
    check("the status is the ledger's", not complaint
          and status["current"]["epoch"] == last["epoch"] and status["waiting"] is None
          and int(status["paid"]) == test.owed(1)[test.addresses[0]]
          and int(status["balance"]) == test.balance(test.contract), (status, complaint))
    made_up = test.claims.data("post(bytes32,uint64)", 7, last["epoch"] + 1)
    test.chain.send(test.poster, made_up, test.contract)
    status, complaint = test.run("status", test.export)
    check("a root that the ledger does not give is noticed",
          status["waiting"]["epoch"] == last["epoch"] + 1 and "not what this ledger gives"
          in complaint, (status, complaint))


def takes_over(test: Test) -> None:
    """With other keys, say because the poster's was stolen."""
    parts = ["deploy", "--token", test.token_at, "--poster", test.anyone,
             "--guardian", test.guardian, "--delay", DELAY, "--previous"]
    refused("nobody takes over from nobody", test.run(*parts, test.anyone, key=test.deployer),
            "no contract to take over from")
    first = test.contract
    made, complaint = test.run(*parts, first, key=test.deployer)
    check("a contract takes over", "contract" in made, complaint)
    test.contract = made["contract"]
    check("it is posted to", "root" in test.post(1, test.anyone)[0])
    test.chain.pass_time(DELAY)
    for address in test.addresses:
        refused("what the first paid is not paid again", test.claim(address), "nothing is due")
    check("it knows from whom it took over",
          test.run("status", test.export)[0].get("previous") == first)


def keeps_keys(test: Test) -> None:
    test.keys[test.guardian].chmod(0o644)
    refused("a key that others may read is refused", test.run("veto", 1, key=test.guardian),
            "chmod 600")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("program", "world", "modules"):
        parser.add_argument(f"--{name}", type=lambda path: Path(path).resolve(), required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="stratos-evm-") as folder:
        chain = Chain(options.modules, Path(folder))
        try:
            test = Test(options, Path(folder), chain)
            deploys(test)
            agrees_with_openzeppelin(test, options.modules)
            waits_and_vetoes(test)
            pays_exactly(test)
            pays_the_difference(test)
            shows_and_warns(test)
            takes_over(test)
            keeps_keys(test)
        finally:
            chain.stop()
    print(f"{CHECKS['passed']} passed, {CHECKS['failed']} failed")
    return 1 if CHECKS["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
