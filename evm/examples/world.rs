//! Writes the export of a small ledger on which nodes withdrew to three
//! addresses, for the test on a chain.
//!
//! ```text
//! cargo run -p evm --example world -- FILE ADDRESS ADDRESS ADDRESS
//! ```
//! Prints what each address is owed, epoch by epoch, as JSON.

#[path = "../tests/world/mod.rs"]
mod world;

use std::env;
use std::fs;

use alloy_primitives::Address;
use serde_json::{Value, json};

fn main() {
    let mut arguments = env::args().skip(1);
    let file = arguments.next().expect("the file to write");
    let addresses: [Address; 3] =
        [(); 3].map(|()| arguments.next().expect("three addresses").parse().expect("an address"));
    let (world, epochs) = world::lived(addresses);
    fs::write(&file, world.export()).expect("the file can be written");
    let epochs = epochs.map(|expected| {
        let leaf = |(address, amount): (Address, u128)| json!([address, amount.to_string()]);
        let leaves: Vec<Value> = expected.leaves.into_iter().map(leaf).collect();
        json!({ "epoch": expected.epoch, "leaves": leaves })
    });
    println!("{}", json!({ "epochs": epochs }));
}
