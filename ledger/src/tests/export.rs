//! An export can be replayed, and nothing in it can change unnoticed.

use proptest::prelude::*;
use protocol::wire::Wire;

use super::world::{World, lived, sequencer};
use crate::block::Block;
use crate::chain::{BlockError, Chain, Source};
use crate::economy::Economy;
use crate::verify::{Report, verify};

fn verified(export: &[u8]) -> Report {
    verify(export)
}

#[test]
fn a_good_export_is_good() {
    let world = lived();
    let report = verified(world.export().as_bytes());
    assert_eq!(report.error, None);
    assert!(report.is_ok() && report.conserved);
    assert_eq!(report.first_bad_height, None);
    assert_eq!(report.blocks, world.blocks.len() as u64);
    assert_eq!(report.entries, world.chain.log().size());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["first_bad_height"], serde_json::Value::Null);
}

#[test]
fn every_changed_byte_is_found() {
    let mut world = World::new(1);
    world.pass_epoch();
    let good = world.export().into_bytes();
    assert!(verified(&good).is_ok());
    for at in 0..good.len() {
        for mask in [0x01, 0x20, 0x80] {
            let mut changed = good.clone();
            changed[at] ^= mask;
            let report = verified(&changed);
            assert!(!report.is_ok(), "byte {at} of {}: {mask:#x}", good.len());
            assert!(report.first_bad_height.is_some());
        }
    }
}

#[test]
fn every_changed_byte_of_a_submission_is_found() {
    let world = lived();
    let lines: Vec<String> = world.export().lines().map(str::to_owned).collect();
    let before = lines[..2].join("\n") + "\n";
    // Block 1: a registration, an opening, a reservation.
    let block = &lines[2];
    for at in 0..block.len() {
        let mut changed = block.clone().into_bytes();
        changed[at] ^= 0x01;
        let export = [before.as_bytes(), &changed, b"\n"].concat();
        let report = verified(&export);
        assert_eq!(report.first_bad_height, Some(1), "byte {at}: {:?}", report.error);
    }
}

#[test]
fn an_export_that_is_cut_swapped_or_doubled_is_found() {
    let world = lived();
    let good = world.export();
    let lines: Vec<&str> = good.lines().collect();
    let bad = |lines: &[&str]| verified((lines.join("\n") + "\n").as_bytes()).first_bad_height;
    assert_eq!(bad(&lines), None);
    assert_eq!(bad(&[&lines[..2], &lines[3..]].concat()), Some(1), "a block is missing");
    assert_eq!(bad(&[&lines[..3], &lines[2..]].concat()), Some(2), "a block comes twice");
    assert_eq!(bad(&[&lines[..2], &[lines[3], lines[2]]].concat()), Some(1), "swapped");
    assert_eq!(bad(&lines[1..]), Some(0), "no genesis");
    assert_eq!(bad(&lines[..1]), Some(0), "no block");
    let cut = verified(&good.as_bytes()[..good.len() - 1]);
    assert_eq!(cut.first_bad_height, Some(lines.len() as u64 - 2));
    assert_eq!(verified(b"").first_bad_height, Some(0));
}

#[test]
fn a_line_that_never_ends_is_refused() {
    let endless = vec![b'{'; crate::export::LINE_MAX + 100];
    let report = verified(&endless);
    assert!(report.error.unwrap().contains("longer than"));
}

/// Whoever holds the sequencer's key still cannot break the rules.
fn check_rewritten(rewrite: impl Fn(&mut Block)) -> BlockError {
    let world = lived();
    let mut chain = Chain::new(world.state().genesis().clone()).unwrap();
    chain.extend(&world.blocks[1], Source::Foreign).unwrap();
    let mut block = world.blocks[2].clone();
    rewrite(&mut block);
    block.finality = block.header.signed(&sequencer());
    chain.extend(&block, Source::Foreign).unwrap_err()
}

#[test]
fn a_block_must_follow_from_its_entries() {
    let header = |what| BlockError::Header(what);
    assert_eq!(check_rewritten(|b| b.header.height += 1), header("the height"));
    let root = check_rewritten(|b| b.header.state_root.0[0] ^= 1);
    assert_eq!(root, header("the root of the state"));
    let root = check_rewritten(|b| b.header.entries_root.0[0] ^= 1);
    assert_eq!(root, header("the root of the log"));
    assert_eq!(check_rewritten(|b| b.header.log_size += 1), header("the size of the log"));
    assert_eq!(check_rewritten(|b| b.header.time_ms = 0), header("the time"));
    let previous = check_rewritten(|b| b.header.prev_hash.0[0] ^= 1);
    assert_eq!(previous, header("the hash of the block before"));
    assert_eq!(check_rewritten(|b| b.entries.clear()), BlockError::Size);
    let other = check_rewritten(|b| b.header.proposer.0[0] ^= 1);
    assert_eq!(other, header("the proposer"));
    let early = check_rewritten(|b| b.header.time_ms -= 1);
    assert!(matches!(early, BlockError::Entry { index: 0, .. }), "the epoch is not over");
}

proptest! {
    #[test]
    fn foreign_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(!verified(&bytes).is_ok());
    }

    /// A line of hostile JSON: right in form, with any numbers.
    #[test]
    fn a_hostile_genesis_is_refused_or_begins(
        epoch_ms in any::<u64>(),
        time_ms in any::<u64>(),
        balance in any::<u128>(),
        emission in any::<u128>(),
        next_ms in any::<u64>(),
    ) {
        use protocol::price::Amount;
        use super::world::{CHAIN, PRICES, gateway};
        use crate::genesis::{Genesis, Params};
        let params = Params {
            tier_emission: Amount(emission),
            ..Params::for_epoch(epoch_ms, Amount(balance))
        };
        let gateways = vec![gateway(0), gateway(1)];
        let made = Genesis::new(CHAIN, &sequencer(), gateways, time_ms, params, Economy::NEUTRAL, PRICES);
        if let Ok(mut chain) = made.map_err(|_| ()).and_then(|g| Chain::new(g).map_err(|_| ())) {
            chain.begin(next_ms);
            for _ in 0..8 {
                let Some(entry) = chain.state().due() else { break };
                prop_assert_eq!(chain.add(&entry), Ok(()));
            }
            prop_assert_eq!(chain.finish().to_wire().len(), crate::block::Header::LEN);
        }
    }
}
