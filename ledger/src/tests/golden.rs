//! Bytes that must never change: what is hashed and signed today is verified
//! for as long as the ledger lives.

use protocol::ledger_api::Submission;
use protocol::price::Amount;
use protocol::registration::NAME_MAX;
use protocol::statement::TransferId;
use protocol::wire::Wire;
use protocol::{ChainId, Epoch, LedgerId};

use super::world::{
    EPOCH, OPENING, account, counters, genesis, invite, open, receipt, register, registration,
    reserve, sequencer, small_world, usage,
};
use crate::block::{Finality, Header, checkpoint, signed_checkpoint};
use crate::entry::{Deposit, ENTRY_MAX, Entry};
use crate::genesis::{Genesis, Params};
use crate::hash::Hash;

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

#[test]
fn a_header_stands_only_as_signed() {
    let key = sequencer();
    let header = Header { proposer: key.public().into(), ..header() };
    let finality = header.signed(&key);
    assert_eq!(finality.verify(&header), Ok(()));
    assert_eq!(Finality::from_wire(&finality.to_wire()), Ok(finality.clone()));
    assert!(finality.verify(&Header { height: 3, ..header }).is_err());
}

#[test]
fn a_checkpoint_is_a_signed_note() {
    let root = "BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=";
    let name = format!("stratos/{}", "01".repeat(16));
    assert_eq!(checkpoint(&header()), format!("{name}\n6\n{root}\n"));
    let note = signed_checkpoint(&header(), &sequencer());
    let (text, signature) = note.split_once("\n\n").unwrap();
    assert_eq!(format!("{text}\n"), checkpoint(&header()));
    assert!(signature.starts_with(&format!("\u{2014} {name} ")) && signature.ends_with('\n'));
    assert_eq!(
        blake3::hash(note.as_bytes()).to_hex().as_str(),
        "0ee6b7997273c63b4485b8a0a7e1bd6fceb907e174e61402edd91d10605e12b4"
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

    // Ed25519 is deterministic, so a hash stands for layout and signatures.
    check(&close, "07de20612a916a37");
    check(&Entry::Deposit(deposit), "45d8170a59f39c93");
    check(&register(0), "7aad4fc8a82ad664");
    check(&receipt(0, 0, 1, 2, counters(3, 4)), "450e1d77f946dc37");
    check(&open(0, account(0)), "064300c6451a677f");
    check(&reserve(0, account(0), 1, 5), "f36b0d0fa5dbfec8");
    check(&usage(0, account(0), 1, 1, 5), "bf58753100724f42");
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

#[test]
fn genesis_bytes_do_not_change() {
    let genesis = genesis(2, Params::for_epoch(EPOCH, OPENING));
    assert_eq!(Genesis::from_wire(&genesis.to_wire()).as_ref(), Ok(&genesis));
    assert_eq!(
        genesis.hash().to_string(),
        "581555dd83d44cbac2f310a630118303a46096eb191558f14f2778b3d224ba22"
    );
}

#[test]
fn the_state_of_a_small_ledger_does_not_change() {
    let mut world = small_world(500);
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
    for tag in [0, 6, 31, 37, 255] {
        let bytes = [[tag].as_slice(), &[0; 64]].concat();
        assert!(Entry::from_wire(&bytes).is_err(), "{tag}");
    }
}
