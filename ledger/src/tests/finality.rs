//! Why blocks stand, and that nothing less will do; two blocks of one height.

use protocol::ids::PublicKey;
use protocol::ledger_api::FRAUD_MAX;
use protocol::wire::Wire;
use protocol::{ChainId, LedgerId, SecretKey};

use super::world::{EPOCH, OPENING, World, genesis, lived, open, sequencer};
use crate::block::Header;
use crate::chain::{BlockError, Chain, Source};
use crate::checkpoint::Checkpoint;
use crate::economy::Economy;
use crate::finality::{Finality, FinalityError, Seen, Vote, Witnessed};
use crate::fraud::{FraudError, FraudProof, SignedHeader};
use crate::genesis::{Genesis, Params};
use crate::hash::Hash;
use crate::note::Cosignature;

fn validator(n: u8) -> SecretKey {
    SecretKey::from_seed([120 + n; 32])
}

/// Four validators, the sequencer among them.
fn network() -> Genesis {
    let mut genesis = genesis(1, Params::for_epoch(EPOCH, OPENING));
    genesis.economy = Some(Economy::NEUTRAL);
    let others = (0..3).map(|n| validator(n).public().into());
    genesis.validators = others.chain([genesis.sequencer]).collect();
    genesis.validators.sort_unstable();
    genesis.check().unwrap();
    genesis
}

fn header(genesis: &Genesis) -> Header {
    Chain::new(genesis.clone()).unwrap().head().clone()
}

fn witnessed(header: &Header, witnesses: &[SecretKey]) -> Finality {
    let Finality::Solo(signature) = header.signed(&sequencer()) else { panic!("as signed") };
    let text = Checkpoint::of(header).to_string();
    let cosignatures = witnesses.iter().map(|key| {
        let Cosignature { time_s, signature } = Cosignature::new(&text, 1_700_000_000, key);
        Seen { witness: key.public(), time_s, signature }
    });
    let mut cosignatures: Vec<Seen> = cosignatures.collect();
    cosignatures.sort_by_key(|seen| seen.witness);
    Finality::Witnessed(Witnessed { signature, cosignatures })
}

fn quorum(header: &Header, keys: &[SecretKey]) -> Finality {
    let mut votes: Vec<Vote> = keys.iter().map(|key| header.vote(key)).collect();
    votes.sort_by_key(|vote| vote.validator);
    Finality::Quorum(votes)
}

fn all(header: &Header) -> [Finality; 3] {
    let quorum = quorum(header, &[validator(0), validator(1), sequencer()]);
    [header.signed(&sequencer()), witnessed(header, &[validator(7), validator(8)]), quorum]
}

#[test]
fn each_kind_stands_only_for_what_was_signed() {
    let genesis = network();
    let header = header(&genesis);
    for finality in all(&header) {
        assert_eq!(finality.verify(&header, &genesis), Ok(()), "{finality:?}");
        let changed = Header { time_ms: header.time_ms + 1, ..header.clone() };
        assert!(finality.verify(&changed, &genesis).is_err(), "{finality:?}");
        assert_eq!(Finality::from_wire(&finality.to_wire()).as_ref(), Ok(&finality));
        let json = serde_json::to_string(&finality).unwrap();
        assert_eq!(serde_json::from_str::<Finality>(&json).unwrap(), finality);
    }
}

#[test]
fn finality_bytes_do_not_change() {
    let header = Header {
        chain: ChainId([1; 16]),
        height: 2,
        prev_hash: Hash([3; 32]),
        time_ms: 4,
        entries_root: Hash([5; 32]),
        log_size: 6,
        state_root: Hash([7; 32]),
        proposer: sequencer().public().into(),
    };
    let hashes = all(&header).map(|finality| {
        let bytes = finality.to_wire();
        (bytes[0], bytes.len(), blake3::hash(&bytes).to_hex()[..16].to_owned())
    });
    let lens = hashes.each_ref().map(|(tag, len, _)| (*tag, *len));
    assert_eq!(lens, [(1, 65), (2, 65 + 4 + 2 * 104), (3, 1 + 4 + 3 * 96)]);
    let hashes = hashes.map(|(_, _, hash)| hash);
    assert_eq!(hashes, ["86af73ae6d6bd6df", "51b07b0de38fe1a6", "26e6922d4df7a796"]);
    let solo = serde_json::to_value(header.signed(&sequencer())).unwrap();
    assert_eq!(solo["solo"].as_str().map(str::len), Some(128));
}

#[test]
fn two_thirds_are_not_a_quorum_and_strangers_do_not_count() {
    let genesis = network();
    let header = header(&genesis);
    let check = |finality: Finality| finality.verify(&header, &genesis);
    let two = quorum(&header, &[validator(0), sequencer()]);
    assert_eq!(check(two), Err(FinalityError::TooFew { have: 2, all: 4 }));
    let stranger = LedgerId::from(validator(9).public());
    let mixed = quorum(&header, &[validator(0), validator(1), validator(9), sequencer()]);
    assert_eq!(check(mixed), Err(FinalityError::Stranger(stranger)));

    let Finality::Quorum(votes) = quorum(&header, &[validator(0), validator(1), sequencer()])
    else {
        panic!("as made")
    };
    let doubled = [&votes[..2], &votes[1..2]].concat();
    assert_eq!(check(Finality::Quorum(doubled)), Err(FinalityError::Signers));
    let mut backwards = votes.clone();
    backwards.reverse();
    assert_eq!(check(Finality::Quorum(backwards)), Err(FinalityError::Signers));
    let mut swapped = votes;
    swapped[0].signature = swapped[1].signature;
    assert!(matches!(check(Finality::Quorum(swapped)), Err(FinalityError::Signature(_))));
}

#[test]
fn a_validator_alone_makes_no_block() {
    let genesis = network();
    let header = Header { proposer: validator(0).public().into(), ..header(&genesis) };
    let alone = header.signed(&validator(0));
    assert_eq!(alone.verify(&header, &genesis), Err(FinalityError::Proposer(header.proposer)));
    let voted = quorum(&header, &[validator(0), validator(1), validator(2)]);
    assert_eq!(voted.verify(&header, &genesis), Ok(()));
}

#[test]
fn witnesses_count_once_and_only_those_that_are_named() {
    let genesis = network();
    let header = header(&genesis);
    let keys = [validator(7), validator(8)];
    let finality = witnessed(&header, &keys);
    let known: Vec<PublicKey> = keys.iter().map(SecretKey::public).collect();
    assert_eq!(finality.witnessed_by(&known), 2);
    assert_eq!(finality.witnessed_by(&known[..1]), 1);
    assert_eq!(header.signed(&sequencer()).witnessed_by(&known), 0);

    let Finality::Witnessed(good) = finality else { panic!("as made") };
    let check = |change: fn(&mut Witnessed)| {
        let mut changed = good.clone();
        change(&mut changed);
        Finality::Witnessed(changed).verify(&header, &genesis).unwrap_err()
    };
    assert_eq!(check(|w| w.cosignatures.clear()), FinalityError::Signers);
    assert_eq!(check(|w| w.cosignatures.reverse()), FinalityError::Signers);
    assert_eq!(check(|w| w.cosignatures[1] = w.cosignatures[0].clone()), FinalityError::Signers);
    let later = check(|w| w.cosignatures[0].time_s += 1);
    assert!(matches!(later, FinalityError::Signature(_)));
    let unsigned = check(|w| w.signature = w.cosignatures[0].signature);
    assert!(matches!(unsigned, FinalityError::Signature(_)));
}

#[test]
fn a_chain_takes_a_block_however_it_is_final() {
    let mut world = World::of(network());
    world.take(&[open(0, super::world::account(0))]);
    let block = world.blocks[1].clone();
    for finality in all(&block.header) {
        let mut chain = Chain::new(network()).unwrap();
        let block = crate::block::Block { finality, ..block.clone() };
        assert_eq!(chain.extend(&block, Source::Foreign), Ok(()));
    }
    let finality = quorum(&block.header, &[sequencer()]);
    let mut chain = Chain::new(network()).unwrap();
    let refused = chain.extend(&crate::block::Block { finality, ..block }, Source::Foreign);
    assert!(matches!(refused, Err(BlockError::Finality(_))));
}

fn fork() -> (Genesis, FraudProof) {
    let world = lived();
    let one = world.blocks[2].header.clone();
    let other = Header { time_ms: one.time_ms + 1, ..one.clone() };
    let (a, b) = (one, other);
    let signed = |header| SignedHeader::solo(header, &sequencer());
    (world.state().genesis().clone(), FraudProof { a: signed(a), b: signed(b) })
}

#[test]
fn two_blocks_of_one_height_are_fraud() {
    let (genesis, proof) = fork();
    assert!(proof.verify(&genesis).is_ok());
    assert_eq!(FraudProof::from_json(&proof.to_json()).unwrap(), proof);
    let larger = String::from_utf8(proof.to_json()).unwrap().replacen('{', "{\"c\": 1,", 1);
    assert!(matches!(FraudProof::from_json(larger.as_bytes()), Err(FraudError::Json(_))));
    let endless = vec![b' '; FRAUD_MAX + 1];
    assert!(matches!(FraudProof::from_json(&endless), Err(FraudError::TooLong)));
}

#[test]
fn what_may_be_is_no_fraud() {
    let (genesis, good) = fork();
    let check = |change: &dyn Fn(&mut FraudProof)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed.verify(&genesis).unwrap_err()
    };
    assert!(matches!(check(&|p| p.b = p.a.clone()), FraudError::Same));
    let unsigned = check(&|p| p.b.header.time_ms += 1);
    assert!(matches!(unsigned, FraudError::Finality('b', _)));
    let next = check(&|p| {
        let header = Header { height: 3, ..p.b.header.clone() };
        p.b = SignedHeader::solo(header, &sequencer());
    });
    assert!(matches!(next, FraudError::Heights(2, 3)));
    let elsewhere = check(&|p| {
        let mut header = p.a.header.clone();
        header.chain.0[0] ^= 1;
        p.a = SignedHeader::solo(header, &sequencer());
    });
    assert!(matches!(elsewhere, FraudError::OtherChain));
    let other = check(&|p| p.a = SignedHeader::solo(p.a.header.clone(), &validator(0)));
    assert!(matches!(other, FraudError::Finality('a', _)));
}
