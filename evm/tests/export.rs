//! Leaves from the export of a ledger that made them.

mod world;

use std::fs;

use alloy_primitives::Address;
use evm::leaves::{ExportError, Orders};
use evm::tree::{Tree, verify};
use ledger::account::Account;
use protocol::Epoch;

const ADDRESSES: [Address; 3] =
    [Address::repeat_byte(0xa1), Address::repeat_byte(0xb2), Address::repeat_byte(0xc3)];

fn read(export: &str) -> Result<Orders, ExportError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.ndjson");
    fs::write(&path, export).unwrap();
    Orders::read(&path)
}

#[test]
fn leaves_are_what_was_withdrawn() {
    let (world, epochs) = world::lived(ADDRESSES);
    let orders = read(&world.export()).unwrap();
    for expected in &epochs {
        let withdrawn = orders.withdrawn(Epoch(expected.epoch)).unwrap();
        assert_eq!(withdrawn.leaves, expected.leaves);
        assert_eq!(withdrawn.unbound, 0);
        let tree = Tree::new(&withdrawn.leaves).unwrap();
        for &address in expected.leaves.keys() {
            assert!(verify(tree.root(), address, &tree.proof(address).unwrap()));
        }
    }
    // Nothing is in the tree that did not leave the ledger, and all that did is.
    let balances = world.state().book().balances();
    let left = balances.filter(|(account, _)| matches!(account, Account::Withdrawn(_)));
    let left: u128 = left.map(|(_, amount)| amount.0).sum();
    assert_eq!(epochs[1].leaves.values().sum::<u128>(), left);
}

#[test]
fn a_withdrawal_that_is_made_up_is_refused() {
    let (world, _) = world::lived(ADDRESSES);
    let export = world.export();
    let lines: Vec<&str> = export.lines().collect();
    let without_last = lines[..lines.len() - 1].join("\n") + "\n";
    assert!(read(&without_last).is_ok());
    let twice = format!("{export}{}\n", lines[lines.len() - 1]);
    assert!(matches!(read(&twice), Err(ExportError::Bad(_))));
    let ordered = lines.iter().rposition(|line| line.contains(&"c3".repeat(20))).unwrap();
    let bent = export.replace(lines[ordered], &lines[ordered].replace("c3c3", "d4d4"));
    assert!(matches!(read(&bent), Err(ExportError::Bad(_))));
}
