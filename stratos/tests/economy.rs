//! Three operators' gateways share twelve nodes and a ledger under mixed load,
//! while some lie, replay, vanish and collude: nobody gains by it, honest nodes
//! are paid to the last unit, and the export proves it.
//!
//! `STRATOS_ECONOMY_EPOCHS` sets for how many epochs there is load.

mod market;
mod process;

use std::collections::BTreeSet;
use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use ledger::LedgerClient;
use ledger::account::{Account, Party};
use ledger::event::Event;
use market::books::{self, Books};
use market::{Market, hostile};
use process::wait_for;
use protocol::ledger_api::{ChainInfo, Submission};
use protocol::price::Counters;
use protocol::statement::gateway_account;
use protocol::{Epoch, NodeId};
use stratos::client::S3Client;

const GATEWAYS: usize = 3;
const NODES: usize = 12;
const EPOCHS: u64 = 12;

// Who plays which part. All others are honest.
const EQUIVOCATES: usize = 8;
const COLLUDES: usize = 9;
const VANISHES: usize = 10;
const LIES: usize = 11;
/// The gateway that is a friend of the colluding node.
const FRIEND: usize = 2;
/// Honest, and killed at a bad moment.
const KILLED_GATEWAY: usize = 0;
const KILLED_NODE: usize = 2;

fn epochs_of_load() -> u64 {
    let set = std::env::var("STRATOS_ECONOMY_EPOCHS").ok();
    set.map_or(EPOCHS, |text| text.parse().expect("a number of epochs"))
}

/// The node still says that it keeps what it was paid to keep, and has noise.
fn rot(market: &Market) {
    let volumes = market.nodes[LIES].dir().join("volumes");
    for file in std::fs::read_dir(volumes).expect("volumes") {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "vol") {
            let len = std::fs::metadata(&path).expect("its length").len();
            let mut file = std::fs::File::options().write(true).open(&path).expect("opened");
            let noise = vec![0xa5; usize::try_from(len).expect("a small volume").min(64 << 20)];
            std::io::Write::write_all(&mut file, &noise).expect("overwritten");
        }
    }
}

/// What a load did.
#[derive(Default)]
struct Done {
    objects: AtomicU64,
    /// Bytes of all uploads, failed ones among them.
    sent: AtomicU64,
}

/// Uploads, downloads and deletions until `stop`.
async fn load(s3: S3Client, seed: u64, stop: Arc<AtomicBool>, done: Arc<Done>) {
    let bucket = "market";
    s3.create_bucket(bucket).await.expect("a bucket");
    // These stay, so there is something old to be audited.
    for n in 0..8 {
        let _ = s3.put(bucket, &format!("kept-{n}"), Bytes::from(vec![n; 700_000])).await;
        done.sent.fetch_add(700_000, Ordering::Relaxed);
    }
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let n = seed.wrapping_mul(31).wrapping_add(round);
        let len = [900, 40_000, 700_000, 2_500_000][n as usize % 4];
        let (key, byte) = (format!("{}", n % 16), n.to_le_bytes()[0]);
        done.sent.fetch_add(len as u64, Ordering::Relaxed);
        // Nodes come and go: what fails is not what is tested here.
        if s3.put(bucket, &key, Bytes::from(vec![byte; len])).await.is_ok() {
            for _ in 0..3 {
                if let Ok(read) = s3.get_bytes(bucket, &key).await {
                    assert!(read.iter().all(|got| *got == byte) && read.len() == len, "{key}");
                }
            }
            done.objects.fetch_add(1, Ordering::Relaxed);
        }
        if n % 5 == 0 {
            let _ = s3.delete(bucket, &key).await;
        }
    }
}

async fn await_epoch(market: &Market, ledger: &LedgerClient, epoch: Epoch) -> ChainInfo {
    wait_for(&format!("epoch {epoch}"), &market.ledger, async || {
        ledger.chain_info().await.ok().filter(|info| info.open >= epoch)
    })
    .await
}

/// The ledger as anyone can have it.
fn export(market: &Market) -> String {
    let file = market.ledger.dir().join("export.ndjson").display().to_string();
    market.gateways[0].ask(&["ledger", "export", &file]);
    std::fs::read_to_string(file).expect("an export")
}

/// Submits and tells whether the ledger took it.
async fn is_taken(ledger: &LedgerClient, submission: Submission) -> Result<(), String> {
    ledger.submit(vec![submission]).await.expect("an answer").remove(0)
}

/// Old receipts again, and blown up ones: none changes anything.
async fn replay(market: &Market, ledger: &LedgerClient) {
    let books = Books::read(&export(market));
    let key = market.node_key(1);
    let old = books.receipts_of(key.public().into());
    assert!(!old.is_empty(), "the node was paid before");
    let before =
        books.chain.state().book().balance(Account::Mature(Party::Node(key.public().into())));
    for receipt in &old {
        // Taken means that it is held already; too late is an answer as well.
        let _ = is_taken(ledger, hostile::submitted(receipt)).await;
        let inflated = hostile::submitted(&hostile::inflated(receipt, &key));
        let refused = is_taken(ledger, inflated).await.expect_err("nobody signed that");
        assert!(refused.contains("signature"), "{refused}");
    }
    let after = Books::read(&export(market));
    let again: usize = after.receipts_of(key.public().into()).len();
    assert!(again >= old.len());
    assert!(
        after.chain.state().book().balance(Account::Mature(Party::Node(key.public().into())))
            >= before
    );
}

/// Made-up traffic between friends, in an epoch that takes receipts. Returns
/// the epoch.
async fn collude(market: &Market, ledger: &LedgerClient) -> Epoch {
    let (gateway, node) = (market.gateway_key(FRIEND), market.node_key(COLLUDES));
    wait_for("epoch that takes receipts", &market.ledger, async || {
        let info = ledger.chain_info().await.ok()?;
        let epoch = *info.taking_receipts.first()?;
        let counters = Counters { get_bytes: 1 << 34, operations: 1, ..Counters::default() };
        let receipt = hostile::made_up(&info, epoch, 7, (&gateway, &node), counters);
        is_taken(ledger, hostile::submitted(&receipt)).await.ok().map(|()| epoch)
    })
    .await
}

/// A node signs two things that contradict each other, and is shown to.
async fn equivocate(market: &Market, ledger: &LedgerClient) {
    let keys = (market.gateway_key(FRIEND), market.node_key(EQUIVOCATES));
    let evidence = wait_for("epoch that takes receipts", &market.ledger, async || {
        let info = ledger.chain_info().await.ok()?;
        let epoch = *info.taking_receipts.first()?;
        let evidence = hostile::contradiction(&info, epoch, 9, (&keys.0, &keys.1));
        is_taken(ledger, hostile::submitted(&evidence.first)).await.ok()?;
        let refused = is_taken(ledger, hostile::submitted(&evidence.second)).await;
        refused.expect_err("the second contradicts the first");
        Some(evidence)
    })
    .await;
    is_taken(ledger, Submission::Equivocation(Box::new(evidence))).await.expect("it proves itself");
    let info = ledger.chain_info().await.expect("an answer");
    let node: NodeId = keys.1.public().into();
    assert!(info.excluded.contains(&node), "nothing is placed there any more");
}

/// Ledger, gateway and node die at once, and come back.
fn kill_some(market: &mut Market) {
    let Market { ledger, gateways, nodes, .. } = market;
    for role in [ledger, &mut gateways[KILLED_GATEWAY].0, &mut nodes[KILLED_NODE]] {
        role.kill();
        role.start();
    }
}

/// Whatever died when, nothing was counted twice: no gateway's nodes were paid
/// for more shards than it ever sent.
fn check_counted_once(market: &Market, books: &Books, loads: &[Arc<Done>]) {
    for (n, done) in loads.iter().enumerate().filter(|(n, _)| *n != FRIEND) {
        let gateway = market.gateway_key(n).public().into();
        let receipts = books.periods.values().flat_map(|period| period.receipts.values());
        let of_it = receipts.filter(|receipt| receipt.voucher.body.gateway == gateway);
        let put: u64 = of_it.map(|receipt| receipt.voucher.body.counters.put_bytes).sum();
        // Six shards for four, a few bytes of tags and padding, and its own metadata.
        let most = done.sent.load(Ordering::Relaxed) * 6 / 4 * 11 / 10 + (64 << 20);
        assert!(0 < put && put < most, "gateway {n}: {put} bytes of at most {most}");
    }
}

/// What keeping noise cost the node that did.
fn cost_of_lying(market: &Market, books: &Books) -> u128 {
    let liar: NodeId = market.node_key(LIES).public().into();
    let costs = books.events.iter().map(|event| match event {
        Event::Earned(earned) if earned.node == liar => earned.withheld.0,
        Event::Penalty { party: Party::Node(node), due, .. } if *node == liar => due.0,
        _ => 0,
    });
    costs.sum()
}

/// Nobody refutes a loss by the copy that was made because of it.
fn check_claims(market: &Market, books: &Books) {
    let liar: NodeId = market.node_key(LIES).public().into();
    let claims = books.events.iter().filter_map(|event| match event {
        Event::Claim { node, refuted, .. } if *node == liar => Some(*refuted),
        _ => None,
    });
    let refuted: Vec<bool> = claims.collect();
    assert!(!refuted.is_empty() && !refuted.contains(&true), "{refuted:?}");
}

/// The sums of every settled epoch are those of the published formulas, and
/// what honest nodes have is what they are worth.
fn check_books(market: &Market, books: &Books, cheats: &BTreeSet<NodeId>) {
    let state = books.chain.state();
    assert!(state.book().is_conserved());
    for (epoch, period) in books.periods.iter().filter(|(_, period)| period.is_sealed) {
        let summary = state.summary(*epoch).expect("a settled epoch");
        assert!(summary.void.is_empty(), "epoch {epoch}: {:?}", summary.void);
        let owed: u128 = period.receipts.values().map(|r| r.voucher.body.amount.0).sum();
        assert_eq!(summary.debited.0, owed, "epoch {epoch}: accounts pay what nodes earned");
        let kept = summary.paid.0 + summary.tax.0 + summary.treasury.0 + summary.withheld.0;
        assert_eq!(kept, owed, "epoch {epoch}: nothing is made or lost");
    }
    for n in 0..NODES {
        let node: NodeId = market.node_key(n).public().into();
        if cheats.contains(&node) {
            continue;
        }
        let party = Party::Node(node);
        let on = |account| state.book().balance(account).0;
        let has =
            on(Account::Immature(party)) + on(Account::Mature(party)) + on(Account::Held(node));
        assert_eq!(has, books.pay_of_node(node), "node {n} is paid to the last unit");
        assert!(has > 0, "node {n} took part");
    }
}

/// Income of the friends from what they made up, and what it cost them.
fn check_collusion(market: &Market, books: &Books, epoch: Epoch) {
    let (gateway, node) = (market.gateway_key(FRIEND).public(), market.node_key(COLLUDES).public());
    let period = &books.periods[&epoch];
    let with = books::pay(period);
    let mut honest = books::Period { receipts: period.receipts.clone(), ..Default::default() };
    let made_up = honest.receipts.remove(&(gateway.into(), node.into(), 7)).expect("it counted");
    let without = books::pay(&honest);
    let of = |pay: &books::Pay| {
        pay.nodes.get(&node.into()).copied().unwrap_or_default()
            + pay.gateways.get(&gateway.into()).copied().unwrap_or_default()
    };
    let (income, cost) = (of(&with) - of(&without), made_up.voucher.body.amount.0);
    println!("collusion: {income} atto-credits of income cost {cost}");
    assert!(income < cost, "making up traffic loses money");
    // And the friend paid for it: customers pay what their statements say, and whatever
    // a gateway states too late or too low its own money pays (`check_books`).
    let own = gateway_account(gateway.into());
    let of_it = period.receipts.values().map(|receipt| &receipt.voucher.body);
    let owed: u128 =
        of_it.filter(|body| body.gateway == gateway.into()).map(|body| body.amount.0).sum();
    let stated = period.statements.values().filter(|one| one.gateway == gateway.into());
    let customers: u128 = stated.filter(|one| one.account != own).map(|one| one.amount.0).sum();
    assert!(owed - customers >= cost, "{customers} of {owed} are paid by customers");
}

/// Changing one digit anywhere in a block is noticed at that block.
fn check_tampering(export: &str) {
    let lines: Vec<&str> = export.lines().collect();
    let whole = ledger::verify(BufReader::new(export.as_bytes()));
    assert!(whole.is_ok(), "{whole:?}");
    assert_eq!(whole.blocks as usize, lines.len() - 1);
    for height in (1..lines.len() - 1).step_by(lines.len() / 7 + 1) {
        let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let line = &mut changed[height + 1];
        let first = line.find("\"entries\":[\"").expect("entries") + 12;
        // The middle of the first entry, which may be as short as a clock's.
        let at = first + line[first..].find('"').expect("its end") / 2;
        let digit = if line.as_bytes()[at] == b'0' { "1" } else { "0" };
        line.replace_range(at..=at, digit);
        let report = ledger::verify(BufReader::new((changed.join("\n") + "\n").as_bytes()));
        assert_eq!(report.first_bad_height, Some(height as u64), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gains_by_cheating_and_honest_nodes_are_paid_to_the_last_unit() {
    let folder = tempfile::tempdir().expect("a folder");
    let bond = "[economy]\ngateway_bond_credits = 100";
    let mut market = Market::new(folder.path(), GATEWAYS, NODES, "", bond);
    market.start().await;
    let ledger = market.ledger_client(protocol::SecretKey::generate());
    let stop = Arc::new(AtomicBool::new(false));
    let (mut loads, mut done) = (Vec::new(), Vec::new());
    for (n, gateway) in (0u64..).zip(&market.gateways) {
        let s3 = gateway.client().await;
        done.push(Arc::new(Done::default()));
        loads.push(tokio::spawn(load(s3, n, stop.clone(), done[done.len() - 1].clone())));
    }
    let began = ledger.chain_info().await.expect("an answer").open;
    let at = |n: u64| Epoch(began.0 + n);

    await_epoch(&market, &ledger, at(3)).await;
    replay(&market, &ledger).await;
    let made_up = collude(&market, &ledger).await;
    equivocate(&market, &ledger).await;
    rot(&market);
    market.nodes[VANISHES].kill();
    // What the friend stated of that epoch is taken by then.
    await_epoch(&market, &ledger, at(6).max(Epoch(made_up.0 + 3))).await;
    kill_some(&mut market);
    let last = await_epoch(&market, &ledger, at(epochs_of_load())).await.open;
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        load.await.expect("reads are right");
    }
    // Until what moved in the last epoch is settled, and what was claimed stands.
    await_epoch(&market, &ledger, Epoch(last.0 + 6)).await;
    let (export, books) = wait_for("price of a lie", &market.ledger, async || {
        let export = export(&market);
        let books = Books::read(&export);
        (cost_of_lying(&market, &books) > 0).then_some((export, books))
    })
    .await;
    println!("lying cost {} atto-credits", cost_of_lying(&market, &books));
    let moved: usize = books.periods.values().map(|period| period.receipts.len()).sum();
    println!(
        "{} objects, {moved} receipts in {} epochs",
        done.iter().map(|done| done.objects.load(Ordering::Relaxed)).sum::<u64>(),
        books.periods.len()
    );
    // The one that contradicted itself lost what it had. The friend's pay is as
    // published, and dear to its friend.
    let cheats = [EQUIVOCATES, LIES].map(|n| NodeId::from(market.node_key(n).public()));
    let cheats = BTreeSet::from(cheats);
    check_claims(&market, &books);
    check_books(&market, &books, &cheats);
    check_collusion(&market, &books, made_up);
    check_counted_once(&market, &books, &done);
    check_tampering(&export);
}
