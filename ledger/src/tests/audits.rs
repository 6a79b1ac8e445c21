//! Reports about audits: who may say what when, and what is kept of it.

use protocol::Epoch;
use protocol::audit::{AuditLine, AuditReport, commitment, secret};
use protocol::ledger_api::Submission;
use protocol::statement::UNSIGNED;

use super::world::{CHAIN, gateway_key, node, register, small_world};
use crate::entry::Entry;
use crate::state::Rejection;

fn line(n: u8, ok: u32) -> AuditLine {
    AuditLine { node: node(n), ok, offline: 1, contained: 0, failed: 2, score: 990_000 }
}

fn unsigned(epoch: u64, part: u16, lines: Vec<AuditLine>) -> AuditReport {
    let key = gateway_key(0);
    AuditReport {
        chain: CHAIN,
        gateway: key.public().into(),
        epoch: Epoch(epoch),
        part,
        secret: secret(&key, CHAIN, Epoch(epoch)),
        commitment: commitment(&secret(&key, CHAIN, Epoch(epoch + 2))),
        lines,
        signature: UNSIGNED,
    }
}

fn entry(report: AuditReport) -> Entry {
    Entry::Submitted(Submission::Audits(Box::new(report.signed(&gateway_key(0)))))
}

pub(super) fn audits(epoch: u64, part: u16, lines: Vec<AuditLine>) -> Entry {
    entry(unsigned(epoch, part, lines))
}

#[test]
fn an_epoch_is_reported_once_when_it_is_over() {
    let mut world = small_world(500);
    let open = world.state().open().epoch.0;
    let early = world.offer(audits(open, 0, vec![line(0, 3)]));
    assert!(matches!(early, Err(Rejection::Closed { .. })), "{early:?}");
    world.pass_epoch();
    assert_eq!(world.offer(audits(open, 0, vec![line(0, 3)])), Ok(()));
    assert_eq!(world.offer(audits(open, 0, vec![line(0, 3)])), Err(Rejection::Known));
    // Said otherwise it changes nothing, either.
    assert_eq!(world.offer(audits(open, 0, vec![line(0, 9)])), Err(Rejection::Known));

    world.pass_epoch();
    assert_eq!(world.offer(audits(open + 1, 0, vec![line(0, 4)])), Ok(()));
    let audits = world.state().audits();
    let audited = audits.nodes[&(gateway_key(0).public().into(), node(0))];
    assert_eq!((audited.epoch, audited.latest), (Epoch(open + 1), line(0, 4)));
    assert_eq!(audited.totals, [7, 2, 0, 4]);
    // And from the blocks alone.
    assert_eq!(world.replayed().state(), world.state());
}

#[test]
fn a_secret_must_be_the_one_that_was_committed_to() {
    let mut world = small_world(500);
    let open = world.state().open().epoch.0;
    for epoch in open..open + 2 {
        world.pass_epoch();
        assert_eq!(world.offer(audits(epoch, 0, vec![])), Ok(()));
    }
    world.pass_epoch();
    let gateway = gateway_key(0).public().into();
    assert!(!world.state().audits().gateways[&gateway].was_committed);
    let mut chosen = unsigned(open + 2, 0, vec![]);
    chosen.secret = [9; 32];
    assert_eq!(world.offer(entry(chosen)), Err(Rejection::AuditSecret(Epoch(open + 2))));
    assert_eq!(world.offer(audits(open + 2, 0, vec![])), Ok(()));
    assert!(world.state().audits().gateways[&gateway].was_committed);
}

#[test]
fn parts_come_in_order_and_name_a_node_once() {
    let mut world = small_world(500);
    world.take(&[register(1)]);
    let open = world.state().open().epoch.0;
    world.pass_epoch();
    let mut nodes = [node(0), node(1)];
    nodes.sort();
    let of = |place: usize| AuditLine { node: nodes[place], ..line(0, 1) };
    assert_eq!(world.offer(audits(open, 1, vec![of(0)])), Err(Rejection::AuditLines));
    assert_eq!(world.offer(audits(open, 0, vec![of(1), of(0)])), Err(Rejection::AuditLines));
    assert_eq!(world.offer(audits(open, 0, vec![of(0)])), Ok(()));
    assert_eq!(world.offer(audits(open, 1, vec![of(0)])), Err(Rejection::AuditLines));
    assert_eq!(world.offer(audits(open, 1, vec![of(1)])), Ok(()));
}

#[test]
fn what_cannot_be_is_refused() {
    let mut world = small_world(500);
    let open = world.state().open().epoch.0;
    world.pass_epoch();
    let stranger = audits(open, 0, vec![line(200, 1)]);
    assert_eq!(world.offer(stranger), Err(Rejection::UnknownNode(node(200))));
    let proud = AuditLine { score: 1_000_001, ..line(0, 1) };
    assert_eq!(world.offer(audits(open, 0, vec![proud])), Err(Rejection::AuditLines));
    for _ in 0..33 {
        world.pass_epoch();
    }
    assert!(matches!(world.offer(audits(open, 0, vec![])), Err(Rejection::Closed { .. })));
}

#[test]
fn an_epochs_beacon_is_the_block_that_opened_it() {
    let mut world = small_world(500);
    let first = world.state().open().epoch;
    assert!(world.replayed().beacon(first).is_some());
    world.pass_epoch();
    let opened = world.replayed().head().hash();
    world.take(&[register(1)]);
    let replayed = world.replayed();
    assert_eq!(replayed.beacon(Epoch(first.0 + 1)), Some(opened));
    assert_eq!(replayed.beacon(Epoch(first.0 + 2)), None);
}
