//! Books on disk, and what becomes of them.

use std::fs;

use protocol::voucher::VoucherBody;

use super::accept::tests::{body, gateway, node, view};
use super::*;

fn peer() -> GatewayId {
    gateway().public().into()
}

fn voucher(operations: u64, bytes: u64) -> Voucher {
    body(operations, bytes).signed(&gateway())
}

async fn take(lanes: &Arc<Lanes>, voucher: Voucher) -> Result<(), NotTaken> {
    lanes.take(voucher, peer(), Arc::new(view())).await
}

#[tokio::test]
async fn a_voucher_that_was_taken_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let lanes = Lanes::open(folder.path(), node(), 100).unwrap();
    take(&lanes, voucher(1, 10)).await.unwrap();
    take(&lanes, voucher(2, 20)).await.unwrap();
    take(&lanes, voucher(2, 20)).await.unwrap();
    let other_lane = VoucherBody { lane: 9, ..body(1, 5) }.signed(&gateway());
    take(&lanes, other_lane.clone()).await.unwrap();
    assert!(matches!(take(&lanes, voucher(1, 10)).await, Err(NotTaken::Voucher(_))));
    let leftover = folder.path().join("lanes/x.incoming");
    fs::write(&leftover, "half").unwrap();
    drop(lanes);

    let lanes = Lanes::open(folder.path(), node(), 100).unwrap();
    assert_eq!(lanes.highest(peer(), &view()), [voucher(2, 20), other_lane]);
    assert!(!leftover.exists());
    assert!(matches!(take(&lanes, voucher(1, 10)).await, Err(NotTaken::Voucher(_))));
}

#[tokio::test]
async fn a_spoilt_book_is_made_good_by_the_next_voucher() {
    let folder = tempfile::tempdir().unwrap();
    let lanes = Lanes::open(folder.path(), node(), 100).unwrap();
    take(&lanes, voucher(1, 10)).await.unwrap();
    drop(lanes);
    let book = fs::read_dir(folder.path().join("lanes")).unwrap().next().unwrap().unwrap().path();
    fs::write(&book, "noise").unwrap();

    let lanes = Lanes::open(folder.path(), node(), 100).unwrap();
    assert_eq!(lanes.highest(peer(), &view()), []);
    assert!(book.exists());
    take(&lanes, voucher(2, 20)).await.unwrap();
    drop(lanes);
    let lanes = Lanes::open(folder.path(), node(), 100).unwrap();
    assert_eq!(lanes.highest(peer(), &view()), [voucher(2, 20)]);
}

#[tokio::test]
async fn a_receipt_is_due_until_the_ledger_has_the_highest() {
    let folder = tempfile::tempdir().unwrap();
    let lanes = Lanes::open(folder.path(), node(), 100).unwrap();
    let closed = |operations, bytes| {
        VoucherBody { epoch: Epoch(6), ..body(operations, bytes) }.signed(&gateway())
    };
    take(&lanes, voucher(1, 10)).await.unwrap();
    take(&lanes, closed(1, 10)).await.unwrap();
    let due = || lanes.due(&view().info.taking_receipts);
    assert_eq!(due(), [closed(1, 10)], "the open epoch is not claimed yet");
    lanes.claimed(&closed(1, 10), Err("not now".into()));
    assert_eq!(due(), [closed(1, 10)]);
    take(&lanes, closed(2, 20)).await.unwrap();
    lanes.claimed(&closed(1, 10), Ok(()));
    assert_eq!(due(), [closed(2, 20)], "a higher one came meanwhile");
    lanes.claimed(&closed(2, 20), Ok(()));
    assert_eq!(due(), []);

    let mut later = view();
    later.info.taking_receipts.clear();
    lanes.prune(&later);
    assert_eq!(lanes.highest(peer(), &view()), [voucher(1, 10)]);
    assert_eq!(fs::read_dir(folder.path().join("lanes")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_gateway_beyond_its_credit_waits_for_a_voucher() {
    let folder = tempfile::tempdir().unwrap();
    let lanes = Lanes::open(folder.path(), node(), 100).unwrap();
    let open = || Epoch(7);
    assert!(lanes.spend(peer(), open, 101, Duration::ZERO).await);
    assert!(!lanes.has_credit(peer(), open()));
    assert!(!lanes.spend(peer(), open, 1, Duration::ZERO).await, "nobody vouched");

    // On this thread the read begins to wait before the voucher is taken.
    let waiting = lanes.spend(peer(), open, 1, Duration::from_secs(3600));
    let (went_on, taken) = tokio::join!(biased; waiting, take(&lanes, voucher(1, 10)));
    assert!(went_on);
    taken.unwrap();
    assert!(lanes.has_credit(peer(), Epoch(8)), "a new epoch starts from nothing");
}
