//! A node as gateways and the ledger see it, over real QUIC.

mod network;
mod pauses;

use std::fs;
use std::path::Path;
use std::time::Duration;

use network::{
    Gateway, Ledger, Put, RunningNode, SHARD, gateway_key, root, sample, settings, soon,
};
use protocol::ledger_api::{NodeRecord, Submission};
use protocol::message::LIST_MAX;
use protocol::refusal::Refusal;
use protocol::{Epoch, GatewayId, Root, SecretKey, SegmentId, ShardId};
use storage_node::{Node, OpenError, RunError, Settings};

/// A node that a gateway is connected to.
async fn connected(dir: &Path, ledger: &Ledger) -> (RunningNode, Gateway) {
    connected_with(settings(dir, ledger), ledger).await
}

async fn connected_with(settings: Settings, ledger: &Ledger) -> (RunningNode, Gateway) {
    let node = RunningNode::start(settings).await;
    ledger.knows(&node).await;
    let gateway = Gateway::connect(&node).await;
    (node, gateway)
}

/// How many volumes there are.
fn volumes(dir: &Path) -> usize {
    let names = fs::read_dir(dir.join("volumes")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".vol")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_gateway_puts_reads_and_deletes() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, gateway) = connected(dir.path(), &ledger).await;
    // One byte; one group; one buffer to the byte; several buffers.
    for (index, len) in [1, 16_384, 512 * 1024, 3_000_001].into_iter().enumerate() {
        let shard = ShardId { index: u8::try_from(index).unwrap(), ..SHARD };
        let (bytes, end) = (sample(len), len as u64);
        let stored = gateway.put(shard, &bytes).await.unwrap();
        assert_eq!((stored.shard, stored.root, stored.len), (shard, root(&bytes), end));
        assert_eq!(stored.incarnation, node.node.incarnation());
        for (from, to) in [(0, end), (end / 3, end - end / 5), (end - 1, end)] {
            let got = gateway.get(shard, &root(&bytes), from..to).await.unwrap();
            assert!(got == bytes[from as usize..to as usize], "{from}..{to} of {len}");
        }
        for (from, to) in [(0, end + 1), (1, 1), (2, 1), (u64::MAX, u64::MAX)] {
            let refused = gateway.get(shard, &root(&bytes), from..to).await;
            assert_eq!(refused, Err(Some(Refusal::BadRange)), "{from}..{to} of {len}");
        }
        let group = gateway.prove(shard, &root(&bytes), 0).await.unwrap();
        assert!(group == bytes[..len.min(16_384)]);
        assert_eq!(gateway.prove(shard, &root(&bytes), 999).await, Err(Some(Refusal::BadRange)));
    }
    let status = gateway.status().await.unwrap();
    assert_eq!((status.shards, status.stored), (4, 1 + 16_384 + 512 * 1024 + 3_000_001));

    assert_eq!(gateway.put(SHARD, b"other").await, Err(Some(Refusal::Conflict)));
    assert!(gateway.delete(SHARD).await.unwrap().existed);
    assert!(!gateway.delete(SHARD).await.unwrap().existed);
    assert_eq!(gateway.put(SHARD, b"late").await, Err(Some(Refusal::Forgotten)));
    let gone = gateway.get(SHARD, &root(b""), 0..1).await;
    assert_eq!(gone, Err(Some(Refusal::NotFound)));
    let metrics = node.node.metrics();
    assert_eq!((metrics.shards, metrics.put_bytes), (3, status.stored));
    assert!(metrics.refusals.contains(&(Refusal::Conflict, 1)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_puts_and_gets_at_once_do_not_mix() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, gateway) = connected(dir.path(), &ledger).await;
    let gateway = std::sync::Arc::new(gateway);
    let mut work = tokio::task::JoinSet::new();
    for index in 0..60u8 {
        let gateway = gateway.clone();
        work.spawn(async move {
            let shard = ShardId { index, ..SHARD };
            let bytes = sample(usize::from(index) * 9_999 + 1);
            gateway.put(shard, &bytes).await.unwrap();
            let got = gateway.get(shard, &root(&bytes), 0..bytes.len() as u64).await;
            assert!(got.unwrap() == bytes);
        });
    }
    while let Some(done) = work.join_next().await {
        done.unwrap();
    }
    assert_eq!(gateway.status().await.unwrap().shards, 60);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_lists_what_it_stored_page_by_page() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, gateway) = connected(dir.path(), &ledger).await;
    assert_eq!(gateway.list(ShardId::FIRST, LIST_MAX).await.unwrap(), Vec::<Vec<_>>::new());
    let mut shards: Vec<ShardId> = (0..150u8)
        .map(|n| ShardId { segment: SegmentId([n.wrapping_mul(89); 16]), index: n })
        .collect();
    for shard in &shards {
        gateway.put(*shard, &sample(usize::from(shard.index))).await.unwrap();
    }
    shards.sort();

    let pages = gateway.list(ShardId::FIRST, LIST_MAX).await.unwrap();
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 22]);
    let all = pages.concat();
    assert_eq!(all.iter().map(|held| held.shard).collect::<Vec<_>>(), shards);
    for held in &all {
        let bytes = sample(usize::from(held.shard.index));
        assert_eq!((held.len, held.root), (bytes.len() as u64, root(&bytes)));
    }
    let some = gateway.list(shards[70], 65).await.unwrap().concat();
    assert_eq!(some, all[70..135], "from and limit");
    let refused = gateway.list(ShardId::FIRST, LIST_MAX + 1).await;
    assert_eq!(refused, Err(Some(Refusal::Malformed)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_no_registered_gateways_cannot_connect() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, gateway) = connected(dir.path(), &ledger).await;
    let stranger = SecretKey::from_seed([42; 32]);
    let another_node = SecretKey::from_seed([43; 32]);
    ledger.info.send_modify(|info| {
        let mut record = info.nodes[0].clone();
        record.node = another_node.public().into();
        info.nodes.push(record);
    });
    for key in [stranger, another_node] {
        assert!(Gateway::connect_as(&key, &node).await.is_err());
    }
    assert_eq!(gateway.status().await.unwrap().shards, 0, "others are served as before");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_leaves_the_network_is_cut_off() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, gateway) = connected(dir.path(), &ledger).await;
    ledger.info.send_modify(|info| info.gateways.clear());
    soon("the end of the connection", gateway.connection.closed()).await;
    assert!(Gateway::connect_as(&gateway_key(), &node).await.is_err());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_whole_and_true_body_stores_nothing() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, gateway) = connected(dir.path(), &ledger).await;
    let bytes = sample(2_000_000);
    let (len, root) = (bytes.len() as u64, root(&bytes));

    let mut cut = Put::start(&gateway, SHARD, len).await.unwrap();
    cut.chunk(&bytes[..1_000_000]).await;
    cut.send.finish().unwrap();
    assert_eq!(cut.answer().await, Err(None), "there is nothing to say");

    let mut short = Put::start(&gateway, SHARD, len).await.unwrap();
    short.chunk(&bytes[..1_000_000]).await;
    assert_eq!(short.end(len, root).await, Err(Some(Refusal::WrongRoot)));

    let mut long = Put::start(&gateway, SHARD, 999_999).await.unwrap();
    long.chunk(&bytes[..1_000_000]).await;
    assert_eq!(long.end(1_000_000, root).await, Err(Some(Refusal::Malformed)));

    let huge = Put::start(&gateway, SHARD, u64::MAX).await.unwrap();
    assert_eq!(huge.answer().await, Err(Some(Refusal::Malformed)));

    let mut chunk = Put::start(&gateway, SHARD, 2 << 20).await.unwrap();
    chunk.send.write_all(&(1u32 << 21).to_le_bytes()).await.unwrap();
    assert_eq!(chunk.answer().await, Err(Some(Refusal::Malformed)));

    let (mut send, mut recv) = gateway.connection.open_bi().await.unwrap();
    protocol::frame::write_frame(&mut send, b"\xffnoise").await.unwrap();
    let answer = protocol::frame::read_answer::<protocol::message::Deleted>(&mut recv, 4096).await;
    assert_eq!(answer.unwrap_err().refusal(), Some(Refusal::Malformed));

    let status = gateway.status().await.unwrap();
    assert_eq!((status.shards, status.stored), (0, 0));
    let not_there = gateway.get(SHARD, &root, 0..1).await;
    assert_eq!(not_there, Err(Some(Refusal::NotFound)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_refuses_puts_and_goes_on_reading() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let full = Settings { capacity: Some(100_000), ..settings(dir.path(), &ledger) };
    let (node, gateway) = connected_with(full, &ledger).await;
    let bytes = sample(60_000);
    gateway.put(SHARD, &bytes).await.unwrap();
    let other = ShardId { index: 4, ..SHARD };
    assert_eq!(gateway.put(other, &bytes).await, Err(Some(Refusal::NoSpace)));
    assert!(gateway.get(SHARD, &root(&bytes), 0..60_000).await.unwrap() == bytes);
    assert_eq!(gateway.status().await.unwrap().free, 40_000);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_its_credit_a_gateway_is_served_when_it_vouches() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let tight = Settings { credit_limit: 1_000_000, ..settings(dir.path(), &ledger) };
    let (node, gateway) = connected_with(tight, &ledger).await;
    let id = node.node.id();
    let bytes = sample(1_500_000);
    gateway.put(SHARD, &bytes).await.unwrap();
    let promised = root(&bytes);
    let read = || gateway.get(SHARD, &promised, 0..1_500_000);
    let refused = read().await;
    assert_eq!(refused, Err(Some(Refusal::CreditExceeded)));
    let other = ShardId { index: 4, ..SHARD };
    assert_eq!(gateway.put(other, &bytes).await, Err(Some(Refusal::CreditExceeded)));
    assert!(gateway.prove(SHARD, &root(&bytes), 0).await.is_ok(), "audits are never refused");

    let forged = {
        let mut voucher = ledger.voucher(id, Epoch(7), 1, 1_500_000);
        voucher.body.counters.put_bytes += 1;
        voucher
    };
    assert_eq!(gateway.vouch(forged).await, Err(Some(Refusal::BadVoucher)));
    gateway.vouch(ledger.voucher(id, Epoch(7), 1, 1_500_000)).await.unwrap();
    let backwards = ledger.voucher(id, Epoch(7), 1, 1_000_000);
    assert_eq!(gateway.vouch(backwards).await, Err(Some(Refusal::BadVoucher)));

    // The range takes the gateway beyond its credit again; a voucher that
    // comes meanwhile, or is there in time, lets it go on to its end.
    let vouch = gateway.vouch(ledger.voucher(id, Epoch(7), 2, 2_600_000));
    let (got, vouched) = tokio::join!(read(), vouch);
    vouched.unwrap();
    assert!(got.unwrap() == bytes);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_are_claimed_when_their_epoch_closes() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, gateway) = connected(dir.path(), &ledger).await;
    let id = node.node.id();
    gateway.vouch(ledger.voucher(id, Epoch(7), 1, 10)).await.unwrap();
    gateway.vouch(ledger.voucher(id, Epoch(7), 2, 20)).await.unwrap();
    ledger.next_epoch();
    let receipt = ledger.hears_receipt(2).await;
    assert_eq!(receipt.verify(), Ok(()));
    assert_eq!(receipt.voucher, ledger.voucher(id, Epoch(7), 2, 20));

    gateway.vouch(ledger.voucher(id, Epoch(7), 3, 30)).await.unwrap();
    ledger.hears_receipt(3).await;
    // Epoch 7 takes nothing any more.
    ledger.info.send_modify(|info| info.taking_receipts.clear());
    ledger.next_epoch();
    gateway.vouch(ledger.voucher(id, Epoch(9), 1, 5)).await.unwrap();
    let late = gateway.vouch(ledger.voucher(id, Epoch(7), 4, 40)).await;
    assert_eq!(late, Err(Some(Refusal::Closed)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voucher_of_an_epoch_that_the_node_has_not_heard_of_is_taken() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let slow = Settings { poll: Some(Duration::from_secs(3600)), ..settings(dir.path(), &ledger) };
    let (node, gateway) = connected_with(slow, &ledger).await;
    ledger.next_epoch();
    gateway.vouch(ledger.voucher(node.node.id(), Epoch(8), 1, 10)).await.unwrap();
    ledger.next_epoch();
    gateway.vouch(ledger.voucher(node.node.id(), Epoch(9), 1, 10)).await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_shards_and_vouchers_even_without_a_ledger() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, gateway) = connected(dir.path(), &ledger).await;
    let (id, incarnation) = (node.node.id(), node.node.incarnation());
    let bytes = sample(100_000);
    gateway.put(SHARD, &bytes).await.unwrap();
    let voucher = ledger.voucher(id, Epoch(7), 1, 100_000);
    gateway.vouch(voucher.clone()).await.unwrap();
    let twice = Node::open(settings(dir.path(), &ledger)).await;
    assert!(matches!(twice, Err(OpenError::InUse(_))));
    assert!(storage_node::joined(dir.path()));
    node.stop().await;
    ledger.stop();

    let again = Settings { invite: None, ledger: None, ..settings(dir.path(), &ledger) };
    let node = RunningNode::start(again).await;
    assert_eq!((node.node.id(), node.node.incarnation()), (id, incarnation));
    let gateway = Gateway::connect(&node).await;
    assert!(gateway.get(SHARD, &root(&bytes), 0..100_000).await.unwrap() == bytes);
    assert_eq!(gateway.status().await.unwrap().vouchers, [voucher]);
    assert!(!node.node.metrics().ledger_reachable);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_a_shard_was_lost_is_refuted_with_its_bytes_if_they_are_there() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, gateway) = connected(dir.path(), &ledger).await;
    let bytes = sample(40_000);
    gateway.put(SHARD, &bytes).await.unwrap();
    let claim = |id: u8, index, root: Root, open| {
        serde_json::json!({
            "claim": hex::encode([id; 32]), "gateway": GatewayId::from(gateway_key().public()),
            "segment": SHARD.segment, "index": index, "root": root, "len": 40_000, "group": 2,
            "open": open,
        })
    };
    let whole = root(&bytes);
    ledger.claims.send_replace(vec![
        claim(1, SHARD.index, whole, true),
        claim(2, SHARD.index + 1, whole, true),
        claim(3, SHARD.index, root(b"other"), true),
        claim(4, SHARD.index, whole, false),
    ]);
    let fits = |told: &Submission| match told {
        Submission::Rebuttal(rebuttal) => Some((**rebuttal).clone()),
        _ => None,
    };
    let heard = ledger.hears("the rebuttal", fits).await;
    assert_eq!(heard.claim, [1; 32]);
    let asked = 2 * 16_384..40_000;
    assert!(protocol::tree::decode(&whole, 40_000, &asked, &heard.proof).is_ok());

    // The other two that are open stand.
    let both = async {
        while node.node.metrics().claims_standing != 2 {
            tokio::task::yield_now().await;
        }
    };
    soon("the claims against the node", both).await;
    assert!(node.node.metrics().claims_refuted >= 1);
    ledger.claims.send_replace(Vec::new());
    let none = async {
        while node.node.metrics().claims_standing != 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of the claims", none).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_by_invite_and_says_when_it_moved() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, _) = connected(dir.path(), &ledger).await;
    node.stop().await;
    let moved = Settings { invite: None, zone: "there".into(), ..settings(dir.path(), &ledger) };
    let (node, _) = connected_with(moved, &ledger).await;
    let [joined, moved] = &ledger.registrations()[..] else { panic!("one for each address") };
    assert_eq!(joined.invite, Some(ledger.invite()));
    assert_eq!(moved.invite, None);
    assert!(moved.serial > joined.serial);
    assert_eq!((moved.addr, moved.zone.as_str()), (node.node.addr(), "there"));
    assert_eq!(moved.verify(), Ok(()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_whether_it_is_registered_under_its_key() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (other, _) = connected(&dir.path().join("other"), &ledger).await;
    let uninvited = Settings { invite: None, ..settings(&dir.path().join("node"), &ledger) };
    let node = RunningNode::start(uninvited).await;
    let gateway = soon("the ledger's answer", async {
        loop {
            if let Ok(gateway) = Gateway::connect_as(&gateway_key(), &node).await {
                return gateway;
            }
        }
    });
    let gateway = gateway.await;
    assert!(!node.node.metrics().registered, "the ledger knows another node");
    ledger.info.send_modify(|info| {
        let record = info.nodes[0].clone();
        info.nodes.push(NodeRecord { node: node.node.id(), ..record });
    });
    let registered = async {
        while !node.node.metrics().registered {
            gateway.status().await.unwrap();
        }
    };
    soon("the registration", registered).await;
    node.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_finishes_what_is_under_way_and_refuses_the_rest() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, gateway) = connected(dir.path(), &ledger).await;
    let bytes = sample(1_000_000);
    let mut put = Put::start(&gateway, SHARD, 1_000_000).await.unwrap();
    put.chunk(&bytes[..500_000]).await;
    // Streams are accepted in order, so the put is under way after this.
    gateway.status().await.unwrap();
    node.stop.cancel();
    let refused = async {
        loop {
            if let Err(refusal) = gateway.status().await {
                return refusal;
            }
        }
    };
    assert_eq!(soon("a refusal", refused).await, Some(Refusal::Stopping));
    put.chunk(&bytes[500_000..]).await;
    put.end(1_000_000, root(&bytes)).await.unwrap();
    node.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_belongs_to_one_network() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let (node, _) = connected(dir.path(), &ledger).await;
    node.stop().await;

    let mut other = ledger.addr();
    other.id = protocol::LedgerId([7; 32]);
    let elsewhere = Settings { ledger: Some(other), invite: None, ..settings(dir.path(), &ledger) };
    let refused = Node::open(elsewhere).await;
    assert!(matches!(refused, Err(OpenError::OtherLedger { .. })));

    // The same ledger key, and another network.
    let chain = protocol::ChainId([8; 16]);
    ledger.info.send_modify(|info| {
        let mut sheet = info.prices.sheet.clone();
        (info.chain, sheet.chain) = (chain, chain);
        info.prices = sheet.signed(&SecretKey::from_seed([9; 32]));
    });
    let node = RunningNode::start(settings(dir.path(), &ledger)).await;
    let ended = node.ended().await;
    assert!(matches!(ended, Err(RunError::OtherNetwork { .. })), "{ended:?}");
}

#[tokio::test]
async fn a_start_that_cannot_work_says_why() {
    let (ledger, dir) = (Ledger::start(), tempfile::tempdir().unwrap());
    let base = settings(dir.path(), &ledger);
    let taken = RunningNode::start(settings(&dir.path().join("other"), &ledger)).await;
    for (settings, cause) in [
        (Settings { ledger: None, invite: None, ..base.clone() }, "no ledger is known"),
        (Settings { zone: "z".repeat(65), ..base.clone() }, "zone has more than 64 bytes"),
        (Settings { listen: "0.0.0.0:0".parse().unwrap(), ..base.clone() }, "set `advertise`"),
        (Settings { listen: taken.node.addr(), ..base.clone() }, "cannot listen on 127.0.0.1"),
    ] {
        let Err(error) = Node::open(Settings { dir: dir.path().join("node"), ..settings }).await
        else {
            panic!("opened, in spite of: {cause}")
        };
        assert!(error.to_string().contains(cause), "{error}");
    }
    taken.stop().await;
}
