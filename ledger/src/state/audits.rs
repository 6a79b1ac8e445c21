//! What gateways report about the audits of each epoch.
//!
//! Of each gateway and node the latest report and the totals are kept; all
//! reports stand in the log. A report of failed audits withholds what the
//! gateway would pay the node for keeping: it goes to the repair fund, so
//! whoever reports wrongly gains nothing.

use std::collections::BTreeMap;

use protocol::audit::{AUDIT_PARTS_MAX, AuditLine, AuditReport, commitment, committed_epoch};
use protocol::wire::{Wire, Writer};
use protocol::{Epoch, GatewayId, NodeId};

use super::{Rejection, State};

/// Epochs after which a report is too late.
const LATE_MAX: u64 = 32;

/// A score is at most this many millionths.
const SCORE_MAX: u32 = 1_000_000;

/// What a gateway reported of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audited {
    /// The latest epoch in which it audited the node.
    pub epoch: Epoch,
    /// How that ended.
    pub latest: AuditLine,
    /// Audits ever passed, not reached, not answered, failed.
    pub totals: [u64; 4],
}

/// How far a gateway's reports have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// The latest epoch.
    pub epoch: Epoch,
    /// The number of its latest part.
    pub part: u16,
    /// The last node of that part.
    last_node: Option<NodeId>,
    /// The secret of that epoch.
    pub secret: [u8; 32],
    /// Whether it had been committed to before the epoch began.
    pub was_committed: bool,
    /// To secrets of later epochs.
    commitments: BTreeMap<Epoch, [u8; 32]>,
}

/// All that was reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audits {
    /// By gateway.
    pub gateways: BTreeMap<GatewayId, Reported>,
    /// By gateway and node.
    pub nodes: BTreeMap<(GatewayId, NodeId), Audited>,
    /// Whether a node kept what it should, by the epochs of the reports that an
    /// epoch that is not settled may still need.
    kept: BTreeMap<(GatewayId, NodeId), BTreeMap<Epoch, bool>>,
}

impl Audits {
    pub(super) fn write(&self, out: &mut Writer) {
        out.u64(self.gateways.len() as u64);
        for (gateway, reported) in &self.gateways {
            gateway.write(out);
            reported.epoch.write(out);
            out.u16(reported.part);
            out.u8(u8::from(reported.was_committed));
            out.bytes(&reported.secret);
            reported.last_node.unwrap_or(NodeId([0; 32])).write(out);
            out.u64(reported.commitments.len() as u64);
            for (epoch, commitment) in &reported.commitments {
                epoch.write(out);
                out.bytes(commitment);
            }
        }
        out.u64(self.nodes.len() as u64);
        for ((gateway, _), audited) in &self.nodes {
            gateway.write(out);
            audited.epoch.write(out);
            audited.latest.write(out); // It names the node.
            audited.totals.iter().for_each(|total| out.u64(*total));
        }
        if !self.kept.is_empty() {
            out.u64(self.kept.len() as u64);
            for ((gateway, node), epochs) in &self.kept {
                gateway.write(out);
                node.write(out);
                out.u64(epochs.len() as u64);
                for (epoch, &kept) in epochs {
                    epoch.write(out);
                    out.u8(u8::from(kept));
                }
            }
        }
    }
}

impl State {
    /// What gateways reported about audits.
    pub fn audits(&self) -> &Audits {
        &self.audits
    }

    pub(super) fn check_audits(&self, report: &AuditReport) -> Result<(), Rejection> {
        let epoch = report.epoch;
        let reported = self.audits.gateways.get(&report.gateway);
        if reported.is_some_and(|at| (epoch, report.part) <= (at.epoch, at.part)) {
            return Err(Rejection::Known);
        }
        let is_over = epoch < self.open.epoch && epoch.0 + LATE_MAX >= self.open.epoch.0;
        if !is_over {
            return Err(Rejection::Closed { epoch, what: "audit reports" });
        }
        check_order(reported, report)?;
        for line in &report.lines {
            if !self.nodes.contains_key(&line.node) {
                return Err(Rejection::UnknownNode(line.node));
            }
            if line.score > SCORE_MAX {
                return Err(Rejection::AuditLines);
            }
        }
        match reported.and_then(|at| at.commitments.get(&epoch)) {
            Some(committed) if *committed != commitment(&report.secret) => {
                Err(Rejection::AuditSecret(epoch))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn take_audits(&mut self, report: &AuditReport) {
        let AuditReport { gateway, epoch, part, secret, .. } = *report;
        let before = self.audits.gateways.remove(&gateway);
        let same_epoch = before.as_ref().is_some_and(|at| at.epoch == epoch);
        let was_committed = match &before {
            Some(at) if same_epoch => at.was_committed,
            Some(at) => at.commitments.contains_key(&epoch),
            None => false,
        };
        let mut commitments = before.map(|at| at.commitments).unwrap_or_default();
        // What is reported, or was left out, is never opened any more.
        commitments.retain(|of, _| *of > epoch);
        // One that comes when the beacon is known is none, and so is a second one.
        // Networks from before this rule keep their histories.
        let of = committed_epoch(epoch);
        let is_late = of <= self.open.epoch || commitments.contains_key(&of);
        if !is_late || !self.genesis.is_answerable() {
            commitments.insert(of, report.commitment);
        }
        let last_node = report.lines.last().map(|line| line.node);
        let at = Reported { epoch, part, last_node, secret, was_committed, commitments };
        self.audits.gateways.insert(gateway, at);
        for line in &report.lines {
            self.take_audit_line(gateway, epoch, *line);
            if self.genesis.is_answerable() {
                self.judge_keeping(gateway, epoch, *line);
            }
        }
    }

    fn judge_keeping(&mut self, gateway: GatewayId, epoch: Epoch, line: AuditLine) {
        let kept = line.failed == 0 && line.score >= self.genesis.economy().least_score;
        let oldest = self.intake.keys().next().copied().unwrap_or(self.open.epoch);
        let epochs = self.audits.kept.entry((gateway, line.node)).or_default();
        epochs.insert(epoch, kept);
        // The oldest epoch that is not settled needs the report before it.
        if let Some(&needed) = epochs.range(..=oldest).next_back().map(|(epoch, _)| epoch) {
            *epochs = epochs.split_off(&needed);
        }
    }

    /// Whether keeping is paid: not when the latest report of `epoch` or before
    /// says that shards failed, or that the node's score is too low. A node
    /// without a recent report is paid.
    pub(super) fn is_keeping(&self, gateway: GatewayId, node: NodeId, epoch: Epoch) -> bool {
        let Some(epochs) = self.audits.kept.get(&(gateway, node)) else { return true };
        let latest = epochs.range(Epoch(epoch.0.saturating_sub(LATE_MAX))..=epoch).next_back();
        latest.is_none_or(|(_, &kept)| kept)
    }

    fn take_audit_line(&mut self, gateway: GatewayId, epoch: Epoch, line: AuditLine) {
        let audited = self.audits.nodes.entry((gateway, line.node));
        let audited = audited.or_insert(Audited { epoch, latest: line, totals: [0; 4] });
        (audited.epoch, audited.latest) = (epoch, line);
        let counts = [line.ok, line.offline, line.contained, line.failed];
        for (total, count) in audited.totals.iter_mut().zip(counts) {
            *total = total.saturating_add(count.into());
        }
    }
}

/// The parts of a report come in order, and name each node once.
fn check_order(reported: Option<&Reported>, report: &AuditReport) -> Result<(), Rejection> {
    let before = reported.filter(|at| at.epoch == report.epoch);
    let follows = match before {
        None => report.part == 0,
        Some(at) => report.part == at.part + 1 && report.secret == at.secret,
    };
    let mut last = before.and_then(|at| at.last_node);
    let ascends = report.lines.iter().all(|line| last.replace(line.node) < Some(line.node));
    if follows && ascends && report.part < AUDIT_PARTS_MAX {
        return Ok(());
    }
    Err(Rejection::AuditLines)
}
