//! Traffic is metered, signed, settled and paid, and the sums hold.

mod world;

use std::io::BufReader;
use std::time::Duration;

use protocol::price::Amount;
use stratos::cluster::Fixed;
use world::{World, eventually, sample};

/// Epochs that end soon, and leave time for what must be done within one.
fn fast() -> Fixed {
    Fixed { epoch: Some(Duration::from_secs(4)), ..Fixed::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_and_a_download_are_paid_within_a_few_epochs() {
    let world = World::start_with(fast()).await;
    let bytes = sample(2 << 20, 1);
    world.put("k", &bytes).await;
    assert_eq!(world.get("k").await.len(), bytes.len());

    let admin = &world.admin;
    eventually("every node is paid and the account was debited", || async {
        let nodes = admin.nodes().await.unwrap().nodes;
        let account = admin.account("default").await.unwrap();
        nodes.iter().all(|node| node.mature > Amount::ZERO) && account.spent > Amount::ZERO
    })
    .await;

    let epochs = admin.epochs(100).await.unwrap().epochs;
    let sum = |of: fn(&stratos::admin::answers::Epoch) -> Amount| -> u128 {
        epochs.iter().map(|epoch| of(epoch).0).sum()
    };
    assert!(sum(|e| e.debited) > 0);
    assert_eq!(sum(|e| e.debited), sum(|e| e.paid) + sum(|e| e.tax) + sum(|e| e.treasury));

    let account = admin.account("default").await.unwrap();
    assert_eq!(account.balance.0, account.available.0 + account.reserved.0);
    assert!(account.stored_bytes >= 3 << 20, "six shards for four: {}", account.stored_bytes);
    assert!(account.runway_seconds.is_some());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_ledger_verifies_and_a_changed_one_does_not() {
    let world = World::start_with(fast()).await;
    world.put("k", &sample(1 << 20, 1)).await;
    let admin = &world.admin;
    eventually("an epoch is settled", || async {
        let epochs = admin.epochs(100).await.unwrap().epochs;
        epochs.iter().any(|epoch| epoch.paid > Amount::ZERO)
    })
    .await;
    let mut export = Vec::new();
    admin.export_ledger(&mut export).await.unwrap();
    let report = ledger::verify(BufReader::new(export.as_slice()));
    assert!(report.is_ok() && report.conserved && report.blocks > 1, "{report:?}");

    for at in (0..export.len()).step_by(export.len() / 97 + 1) {
        let mut changed = export.clone();
        changed[at] ^= 1;
        assert!(!ledger::verify(BufReader::new(changed.as_slice())).is_ok(), "byte {at}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metering_goes_on_after_a_restart_and_nothing_is_paid_twice() {
    let world = World::start_with(fast()).await;
    world.put("a", &sample(1 << 20, 1)).await;
    let world = world.restart().await;
    world.put("b", &sample(1 << 20, 2)).await;
    let admin = &world.admin;
    eventually("both uploads are settled", || async {
        let epochs = admin.epochs(200).await.unwrap().epochs;
        epochs.iter().map(|epoch| epoch.bytes).sum::<u64>() >= 3 << 20
            && epochs.iter().any(|epoch| epoch.paid > Amount::ZERO)
    })
    .await;
    let mut export = Vec::new();
    admin.export_ledger(&mut export).await.unwrap();
    assert!(ledger::verify(BufReader::new(export.as_slice())).is_ok());
    world.end().await;
}
