//! Witnesses of honest ledgers, and of others.

use std::fs;
use std::path::Path;

use protocol::SecretKey;
use protocol::ids::PublicKey;
use protocol::keys::write_private;
use protocol::price::Amount;
use protocol::statement::TransferId;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::disk::{manual_clock, settings};
use super::network::Network;
use super::world::{START, World, account, lived, open, sequencer};
use crate::block::Block;
use crate::checkpoint::{Checkpoint, origin};
use crate::client::{ClientError, LedgerAddr, LedgerClient};
use crate::entry::{Deposit, Entry};
use crate::fraud::FraudProof;
use crate::ledger::{Ledger, Settings};
use crate::note::{Cosignature, Note, NoteKey};
use crate::witness::{Evidence, Follower, Witness, WitnessError};

fn follow(world: &World, blocks: &[Block]) -> Result<Follower, Box<Evidence>> {
    let genesis = world.state().genesis().clone();
    let mut follower = Follower::begin(genesis, &world.blocks[0]).unwrap();
    blocks.iter().try_for_each(|block| follower.take(block))?;
    Ok(follower)
}

/// Two histories that part after block 1.
fn forks() -> (World, Vec<Block>) {
    let one = lived();
    let mut other = World::new(1);
    other.take(&one.blocks[1].entries);
    other.take(&[open(0, account(1))]);
    assert_eq!(one.blocks[..2], other.blocks[..2]);
    (one, other.blocks)
}

#[test]
fn an_honest_ledger_is_followed() {
    let world = lived();
    let mut follower = follow(&world, &world.blocks[1..]).unwrap();
    assert_eq!(follower.head(), world.chain.head());
    assert_eq!(follower.take(world.blocks.last().unwrap()), Ok(()), "the same again");
}

#[test]
fn two_histories_are_found_and_proved() {
    let (world, other) = forks();
    let mut follower = follow(&world, &world.blocks[1..3]).unwrap();
    let Err(evidence) = follower.take(&other[2]) else { panic!("it is another block 2") };
    let Evidence::Fork(proof) = *evidence else { panic!("{evidence}") };
    assert!(proof.verify(world.state().genesis()).is_ok());
}

#[test]
fn a_block_that_does_not_follow_is_kept_as_it_was() {
    let (world, other) = forks();
    let mut changed = world.blocks[3].clone();
    changed.header.state_root.0[0] ^= 1;
    changed.finality = changed.header.signed(&sequencer());
    let mut unsigned = world.blocks[3].clone();
    unsigned.finality = unsigned.header.signed(&SecretKey::from_seed([1; 32]));
    let mut forged = world.blocks[2].clone();
    forged.header.time_ms += 1;
    for (bad, why) in [
        (&changed, "the root of the state does not follow from the blocks before and the entries"),
        (&unsigned, "does not verify"),
        (&forged, "is not final"),
        (&world.blocks[4], "the height does not follow"),
    ] {
        let mut follower = follow(&world, &world.blocks[1..3]).unwrap();
        let evidence = follower.take(bad).unwrap_err();
        let Evidence::Astray { before, block, error } = *evidence else { panic!("{evidence}") };
        assert!(error.contains(why), "{error}");
        assert_eq!(before.header, world.blocks[2].header);
        assert_eq!(block, crate::export::block_line(bad));
    }
    // A history that parted earlier does not follow either.
    let longer = Block { header: world.blocks[3].header.clone(), ..world.blocks[3].clone() };
    assert!(matches!(
        *follow(&world, &[other[1].clone(), other[2].clone(), longer]).unwrap_err(),
        Evidence::Astray { .. }
    ));
}

#[test]
fn evidence_reads_back() {
    let (world, other) = forks();
    let evidence = follow(&world, &[&world.blocks[1..3], &other[2..3]].concat()).unwrap_err();
    let json = serde_json::to_string(&*evidence).unwrap();
    assert_eq!(serde_json::from_str::<Evidence>(&json).unwrap(), *evidence);
}

fn witness_folder(seed: u8) -> (tempfile::TempDir, PublicKey) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("witness.key");
    write_private(&key, hex::encode([seed; 32]).as_bytes()).unwrap();
    (folder, SecretKey::from_seed([seed; 32]).public())
}

/// When the ledger's clock stands where the tests' networks begin.
const NOW: u64 = START / 1000;

fn note(answer: &Value, field: &str) -> Note {
    Note::parse(answer[field].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn cosignatures_are_served_with_the_head() {
    let ((one, key), (two, other)) = (witness_folder(60), witness_folder(61));
    let network = Network::with_witnesses(vec![key, other]).await;
    network.gateway.submit(vec![network.opening(account(0))]).await.unwrap();
    let checkpoint = json!({"query": "checkpoint"});
    let mut first = Witness::open(one.path().into(), network.ledger).await.unwrap();
    // By its own clock the ledger is two minutes ahead.
    first.poll(NOW - 120).await.unwrap();
    assert_eq!(note(&network.ask(checkpoint.clone()).await, "checkpoint").signatures.len(), 1);
    first.poll(NOW).await.unwrap();
    let head = network.ask(checkpoint.clone()).await;
    assert_eq!(head["witnessed"], Value::Null, "one of two");
    let seen = note(&head, "checkpoint").cosignature(&NoteKey::witness(key)).unwrap();
    assert_eq!(seen.time_s, NOW);

    let mut second = Witness::open(two.path().into(), network.ledger).await.unwrap();
    second.poll(NOW + 1).await.unwrap();
    let head = network.ask(checkpoint.clone()).await;
    assert_eq!(head["witnessed"], head["checkpoint"]);
    assert!(note(&head, "witnessed").cosignature(&NoteKey::witness(other)).is_ok());

    // The log goes on: the new head has none yet, the old one still has all.
    network.gateway.submit(vec![network.opening(account(1))]).await.unwrap();
    let next = network.ask(checkpoint.clone()).await;
    assert_eq!(next["witnessed"], head["witnessed"]);
    assert_eq!(note(&next, "checkpoint").signatures.len(), 1);
    first.poll(NOW + 2).await.unwrap();
    assert_eq!(note(&network.ask(checkpoint).await, "checkpoint").signatures.len(), 2);
    network.stop().await;
}

#[tokio::test]
async fn what_no_witness_of_this_ledger_said_is_refused() {
    let (_one, key) = witness_folder(60);
    let network = Network::with_witnesses(vec![key]).await;
    network.gateway.submit(vec![network.opening(account(0))]).await.unwrap();
    let answer = network.ask(json!({"query": "checkpoint"})).await;
    let good = Checkpoint::parse(&note(&answer, "checkpoint").text).unwrap();
    let check = async |seed: u8, checkpoint: &Checkpoint| {
        let key = SecretKey::from_seed([seed; 32]);
        let text = checkpoint.to_string();
        let line = Cosignature::new(&text, 1, &key).line(key.public());
        network.node.cosign(&Note { text, signatures: vec![line] }).await.unwrap()
    };
    let stranger = check(99, &good).await.unwrap_err();
    assert!(stranger.contains("none of this ledger's witnesses"), "{stranger}");
    let mut other = good.clone();
    other.root.0[0] ^= 1;
    assert!(check(60, &other).await.unwrap_err().contains("never had that head"));
    // The same entries at another time, or with another outcome.
    let mut other = good.clone();
    other.block.0[0] ^= 1;
    assert!(check(60, &other).await.unwrap_err().contains("never had that head"));
    let ahead = Checkpoint { size: good.size + 1, ..good.clone() };
    assert!(check(60, &ahead).await.unwrap_err().contains("never had that head"));
    let elsewhere = Checkpoint { origin: origin(protocol::ChainId([9; 16])), ..good.clone() };
    assert!(check(60, &elsewhere).await.unwrap_err().contains("another log"));
    assert_eq!(check(60, &good).await, Ok(()));
    network.stop().await;
}

#[tokio::test]
async fn a_witness_goes_on_after_a_restart_and_never_back() {
    let (folder, key) = witness_folder(60);
    let network = Network::with_witnesses(vec![key]).await;
    network.gateway.submit(vec![network.opening(account(0))]).await.unwrap();
    let mut witness = Witness::open(folder.path().into(), network.ledger).await.unwrap();
    witness.poll(NOW + 5).await.unwrap();
    let busy = Witness::open(folder.path().into(), network.ledger).await.unwrap_err();
    assert!(matches!(busy, WitnessError::InUse(_)));
    drop(witness);
    let cosigned = fs::read_to_string(folder.path().join("cosigned")).unwrap();

    // Killed after the file was written: the same note is handed out again.
    let mut witness = Witness::open(folder.path().into(), network.ledger).await.unwrap();
    witness.poll(NOW + 6).await.unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("cosigned")).unwrap(), cosigned);
    drop(witness);

    // Without its copy it executes everything again.
    for file in ["witness.sqlite", "witness.sqlite-wal", "witness.sqlite-shm"] {
        let _ = fs::remove_file(folder.path().join(file));
    }
    network.gateway.submit(vec![network.opening(account(1))]).await.unwrap();
    let mut witness = Witness::open(folder.path().into(), network.ledger).await.unwrap();
    witness.poll(NOW + 7).await.unwrap();
    assert_ne!(fs::read_to_string(folder.path().join("cosigned")).unwrap(), cosigned);
    drop(witness);

    // What it cosigned is not what the ledger says now.
    let text = Note::parse(&cosigned).unwrap().text;
    let mut changed = Checkpoint::parse(&text).unwrap();
    changed.root.0[0] ^= 1;
    let line = Cosignature::new(&changed.to_string(), 7, &SecretKey::from_seed([60; 32])).line(key);
    let changed = Note { text: changed.to_string(), signatures: vec![line] };
    write_private(&folder.path().join("cosigned"), changed.to_string().as_bytes()).unwrap();
    let mut witness = Witness::open(folder.path().into(), network.ledger).await.unwrap();
    assert!(matches!(witness.poll(NOW + 8).await, Err(WitnessError::Found(..))));
    drop(witness);
    let again = Witness::open(folder.path().into(), network.ledger).await.unwrap_err();
    assert!(matches!(again, WitnessError::Found(..)), "{again}");
    assert!(folder.path().join("evidence.json").exists());
    network.stop().await;
}

fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn deposit(id: u8) -> Deposit {
    let account = protocol::statement::gateway_account(super::world::gateway(0));
    Deposit { id: TransferId([id; 16]), account, amount: Amount(5) }
}

/// Runs the ledger in a folder while `work` talks to it.
async fn running<T>(
    settings: &mut Settings,
    ids: &[u8],
    work: impl AsyncFnOnce(LedgerAddr) -> T,
) -> T {
    let ledger = Ledger::open_with(settings.clone(), manual_clock().0).await.unwrap();
    settings.listen = ledger.addr();
    let addr = LedgerAddr { id: ledger.id(), addr: ledger.addr() };
    let (operator, stop) = (ledger.operator(), CancellationToken::new());
    let running = tokio::spawn(ledger.run(stop.clone()));
    for &id in ids {
        assert_eq!(operator.deposit(deposit(id)).await, Ok(Ok(())));
    }
    let done = work(addr).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    done
}

#[tokio::test]
async fn a_ledger_that_went_back_and_another_way_is_found_and_halts() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (folder, _) = witness_folder(60);
    let mut one = settings(first.path());
    running(&mut one, &[1], async |_| ()).await;
    // A backup, from which it goes on after more was written.
    copy(first.path(), second.path());
    let at = async |addr| Witness::open(folder.path().into(), addr).await.unwrap();
    running(&mut one, &[2, 3], async |addr| at(addr).await.poll(NOW + 5).await.unwrap()).await;

    let mut two = Settings { dir: second.path().into(), ..one };
    // Behind, but not false yet.
    running(&mut two, &[], async |addr| at(addr).await.poll(NOW + 6).await.unwrap()).await;
    let halted = running(&mut two, &[4], async |addr| {
        let found = at(addr).await.poll(NOW + 7).await.unwrap_err();
        assert!(matches!(&found, WitnessError::Found(what, _) if what.contains("height 2")));
        let client = LedgerClient::new(SecretKey::from_seed([9; 32]), addr);
        assert_eq!(client.submit(Vec::new()).await.unwrap(), Vec::new());
        client.query(json!({"query": "checkpoint"})).await.unwrap()["halted"].clone()
    });
    assert!(halted.await.as_str().unwrap().contains("two blocks of height 2"));
    let again = Witness::open(folder.path().into(), at_nothing(&two)).await.unwrap_err();
    assert!(matches!(again, WitnessError::Found(..)));

    // Both keep the proof, and it holds with the genesis alone.
    let proof = fs::read(folder.path().join("fraud.json")).unwrap();
    assert_eq!(fs::read(second.path().join("fraud.json")).unwrap(), proof);
    let proof = FraudProof::from_json(&proof).unwrap();
    let ledger = Ledger::open_with(two, manual_clock().0).await.unwrap();
    let addr = LedgerAddr { id: ledger.id(), addr: ledger.addr() };
    let (operator, stop) = (ledger.operator(), CancellationToken::new());
    let halted = tokio::spawn(ledger.run(stop.clone()));
    let refused = operator.deposit(deposit(9)).await.unwrap().unwrap_err();
    assert!(refused.contains("the ledger halted"), "also after a restart: {refused}");
    let client = LedgerClient::new(SecretKey::from_seed([9; 32]), addr);
    let genesis = client.query(json!({"query": "genesis"})).await.unwrap();
    let genesis = crate::export::parse_genesis(genesis["line"].as_str().unwrap()).unwrap();
    assert!(proof.verify(&genesis).is_ok());
    stop.cancel();
    halted.await.unwrap().unwrap();
}

fn at_nothing(settings: &Settings) -> LedgerAddr {
    LedgerAddr { id: sequencer().public().into(), addr: settings.listen }
}

#[tokio::test]
async fn a_false_proof_halts_nobody() {
    let network = Network::start().await;
    let world = lived();
    let signed = |n: usize| crate::fraud::SignedHeader::of(&world.blocks[n]);
    let proof = FraudProof { a: signed(1), b: signed(2) };
    let refused = network.node.show_fraud(&proof).await.unwrap().unwrap_err();
    assert!(refused.contains("another network"), "{refused}");
    assert_eq!(network.gateway.submit(vec![network.opening(account(0))]).await.unwrap(), [Ok(())]);
    network.stop().await;
}

#[tokio::test]
async fn only_the_ledgers_own_key_operates_it() {
    use protocol::ledger_api::Operation;
    use protocol::refusal::Refusal;
    let network = Network::start().await;
    let Entry::Deposit(Deposit { id, account, amount }) = Entry::Deposit(deposit(1)) else {
        panic!("as made")
    };
    let operation = Operation::Deposit { id, account, amount };
    let refused = network.gateway.operate(operation.clone()).await;
    assert!(matches!(refused, Err(ClientError::Refused(Refusal::NotPermitted))));
    let key = SecretKey::load(&network.folder.path().join("ledger.key")).unwrap();
    let operator = LedgerClient::new(key, network.ledger);
    assert_eq!(operator.operate(operation.clone()).await.unwrap(), Ok(()));
    assert_eq!(operator.operate(operation).await.unwrap(), Ok(()), "again changes nothing");
    let own = network.ask(json!({"query": "account", "account": account})).await;
    assert_eq!(own["available"], "1000005");
    network.stop().await;
}
