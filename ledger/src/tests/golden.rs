//! Bytes that must never change: what is hashed and signed today is verified
//! for as long as the ledger lives.

use protocol::audit::AuditLine;
use protocol::claim::PROOF_MAX;
use protocol::ids::PublicKey;
use protocol::ledger_api::Submission;
use protocol::order::Action;
use protocol::price::Amount;
use protocol::registration::NAME_MAX;
use protocol::statement::TransferId;
use protocol::wire::Wire;
use protocol::{ChainId, Epoch, GatewayId, LedgerId, NodeId};

use super::audits::audits;
use super::deeds::{claimed, grant, loss, open_owned, order, rebuttal, two_truths};
use super::world::{
    EPOCH, OPENING, World, account, counters, genesis, invite, node_key, open, receipt, register,
    registration, release, reserve, usage, version_1,
};
use crate::block::Header;
use crate::entry::{Deposit, ENTRY_MAX, Entry, Fund, REBUTTAL_MAX};
use crate::genesis::{Genesis, Params};
use crate::hash::Hash;
use crate::verify::verify;

fn header() -> Header {
    Header {
        chain: ChainId([1; 16]),
        height: 2,
        prev_hash: Hash([3; 32]),
        time_ms: 4,
        entries_root: Hash([5; 32]),
        log_size: 6,
        state_root: Hash([7; 32]),
        proposer: LedgerId([8; 32]),
    }
}

#[test]
fn header_bytes_do_not_change() {
    let golden = "0100".to_owned()
        + &"01".repeat(16)
        + "0200000000000000"
        + &"03".repeat(32)
        + "0400000000000000"
        + &"05".repeat(32)
        + "0600000000000000"
        + &"07".repeat(32)
        + &"08".repeat(32);
    let bytes = header().to_wire();
    assert_eq!(hex::encode(&bytes), golden);
    assert_eq!(bytes.len(), Header::LEN);
    assert_eq!(Header::from_wire(&bytes), Ok(header()));
    assert_eq!(
        header().hash().to_string(),
        "025bc8d0ecc588289ad287b7980765977b5ba3f991fbfa0828df7140cfbdb941"
    );
}

#[track_caller]
fn check(entry: &Entry, golden: &str) {
    let bytes = entry.to_wire();
    assert_eq!(Entry::from_canonical(&bytes).as_ref(), Ok(entry));
    assert!(bytes.len() <= ENTRY_MAX);
    let hash = entry.hash().to_string();
    assert_eq!(&hash[..16], golden, "{entry:?}");
}

#[test]
fn entry_bytes_do_not_change() {
    let close = Entry::CloseEpoch { epoch: Epoch(1), next: Epoch(3) };
    assert_eq!(hex::encode(close.to_wire()), "2001000000000000000300000000000000");
    assert_eq!(hex::encode(Entry::StopReceipts(Epoch(1)).to_wire()), "210100000000000000");
    assert_eq!(hex::encode(Entry::SealEpoch(Epoch(1)).to_wire()), "220100000000000000");
    assert_eq!(hex::encode(Entry::MatureEpoch(Epoch(1)).to_wire()), "230100000000000000");
    let deposit = Deposit { id: TransferId([1; 16]), account: account(0), amount: Amount(2) };
    let bytes = "24".to_owned() + &"01".repeat(16) + &"c8".repeat(16) + "02" + &"00".repeat(15);
    assert_eq!(hex::encode(Entry::Deposit(deposit.clone()).to_wire()), bytes);

    let of_32 = |tag: &str| tag.to_owned() + &"03".repeat(32);
    assert_eq!(hex::encode(Entry::SettleClaim([3; 32]).to_wire()), of_32("28"));
    assert_eq!(hex::encode(Entry::ReturnHeld(NodeId([3; 32])).to_wire()), of_32("29"));
    assert_eq!(hex::encode(Entry::Release(NodeId([3; 32])).to_wire()), of_32("2a"));
    assert_eq!(hex::encode(Entry::Forfeit(NodeId([3; 32])).to_wire()), of_32("2b"));

    // Ed25519 is deterministic, so a hash stands for layout and signatures.
    check(&close, "07de20612a916a37");
    check(&Entry::Deposit(deposit), "45d8170a59f39c93");
    let party = PublicKey([3; 32]);
    check(
        &Entry::Fund(Fund { id: TransferId([1; 16]), party, amount: Amount(2) }),
        "ac593970f5609c28",
    );
    check(
        &Entry::PostPrices(genesis(1, Params::for_epoch(EPOCH, OPENING)).price_sheet()),
        "20b47cb89664a9c1",
    );
    check(&Entry::AdmitGateway(GatewayId([4; 32])), "20583b351b571a53");
    check(&register(0), "7aad4fc8a82ad664");
    check(&receipt(0, 0, 1, 2, counters(3, 4)), "450e1d77f946dc37");
    check(&open(0, account(0)), "064300c6451a677f");
    check(&reserve(0, account(0), 1, 5), "f36b0d0fa5dbfec8");
    check(&usage(0, account(0), 1, 1, 5), "bf58753100724f42");
    check(&full_report(), "e59f80982fdb971f");
    check(&Entry::SettleClaim([3; 32]), "e861eff82e9c9361");
    check(&Entry::Release(NodeId([3; 32])), "61ab3f5760cb92a1");
}

#[test]
fn entries_of_the_law_do_not_change() {
    check(&grant(0, 0, 5, 6, 7), "a4b56cd4c035d95d");
    check(&order(&node_key(0), 1, Action::Stake(Amount(5))), "4a2ebbb9bc89de62");
    let (claim, proof) = loss(0, 0, 1, 2, 900);
    check(&claimed(&claim), "687f9e7f46ce0364");
    check(&rebuttal(&claim, &proof), "7d6b27d16a3d6d6b");
    check(&two_truths(0, 0, 1), "c682fc211698bb5b");
    check(&open_owned(0, 0), "7d6016a475213836");
    check(&release(0, account(0), 1, 5), "ef3454e42bf64ae9");
    let longest = rebuttal(&claim, &vec![0; PROOF_MAX].into());
    assert_eq!(longest.to_wire().len(), REBUTTAL_MAX);
}

/// As long as one can be.
fn full_report() -> Entry {
    let line = |n: u8| AuditLine {
        node: NodeId([n; 32]),
        ok: 1,
        offline: 2,
        contained: 3,
        failed: 4,
        score: 5,
    };
    audits(1, 0, (0..15).map(line).collect())
}

#[test]
fn an_address_has_one_spelling() {
    let entry = register(0);
    let mut bytes = entry.to_wire();
    let at = bytes.windows(5).position(|w| w == b"[::1]").unwrap();
    // The same address, but not as it is written.
    bytes.splice(at..at + 5, *b"[::0001]");
    bytes[at - 4] += 3;
    assert_eq!(Entry::from_wire(&bytes).as_ref(), Ok(&entry));
    assert!(Entry::from_canonical(&bytes).is_err());
}

#[test]
fn the_longest_entry_fits() {
    let mut long = registration(0, 1, Some(invite(0)));
    (long.zone, long.operator) = ("z".repeat(NAME_MAX), "o".repeat(NAME_MAX));
    long.addr =
        format!("[{}%4294967295]:65535", "ffff:".repeat(8).trim_end_matches(':')).parse().unwrap();
    long.invite.as_mut().unwrap().ledger_addr = long.addr;
    let bytes = Entry::Submitted(Submission::Register(Box::new(long))).to_wire();
    assert!(bytes.len() <= ENTRY_MAX, "{}", bytes.len());
}

/// Made by the program as it was before there was an economy.
const VERSION_1: &str = include_str!("version_1.ndjson");

#[test]
fn a_ledger_of_the_first_version_replays_as_it_was() {
    let report = verify(VERSION_1.as_bytes());
    assert!(report.is_ok(), "{report:?}");
    assert_eq!((report.blocks, report.entries), (44, 130));
}

#[test]
fn genesis_bytes_do_not_change() {
    let second = genesis(2, Params::for_epoch(EPOCH, OPENING));
    assert_eq!(Genesis::from_wire(&second.to_wire()).as_ref(), Ok(&second));
    assert_eq!(
        second.hash().to_string(),
        "e761fa5ec95a0e37233332bd33160b5222f6a67bb965ffdf40222306d80bf5d8"
    );
    let first = version_1(2);
    assert_eq!(Genesis::from_wire(&first.to_wire()).as_ref(), Ok(&first));
    assert_eq!(
        first.hash().to_string(),
        "581555dd83d44cbac2f310a630118303a46096eb191558f14f2778b3d224ba22"
    );
}

#[test]
fn the_state_of_a_small_ledger_does_not_change() {
    let mut world = World::of(version_1(1));
    world.take(&[register(0), open(0, account(0)), reserve(0, account(0), 1, 500)]);
    world.pass_epoch();
    world.take(&[receipt(0, 0, 0, 0, counters(90, 1))]);
    world.pass_epoch();
    world.take(&[usage(0, account(0), 0, 1, 100)]);
    world.pass_epoch();
    assert_eq!(
        world.state().root().to_string(),
        "2fe9c26a28d4745db8aa97d62455fdd31d9ed13487754ebcac905e12cffe3093"
    );
}

#[test]
fn unknown_entries_are_refused() {
    for tag in [0, 12, 31, 60, 255] {
        let bytes = [[tag].as_slice(), &[0; 64]].concat();
        assert!(Entry::from_wire(&bytes).is_err(), "{tag}");
    }
}
