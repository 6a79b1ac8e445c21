//! The audits of each epoch on the ledger, when it is over.
//!
//! Epochs are reported one after the other, also those without audits: each
//! report commits to the secret of a later epoch. What was reported is written
//! down, so that nothing is said twice; if it is, the ledger knows it already.

use ledger::client::{ClientError, LedgerClient};
use protocol::Epoch;
use protocol::audit::{
    AUDIT_LINES_MAX, AUDIT_PARTS_MAX, AuditLine, AuditReport, commitment, committed_epoch, secret,
};
use protocol::ledger_api::{ChainInfo, Submission};
use protocol::statement::UNSIGNED;
use serde_json::{Value, json};
use thiserror::Error;

use crate::gateway::{Gateway, now_ms};
use crate::meta::MetaError;

/// The setting that holds the latest epoch that was reported.
const REPORTED: &str = "audits_reported";

/// Epochs that are reported late at most.
const LATE_MAX: u64 = 16;

/// Epochs of which the counts are kept: a day of ten minutes each.
const KEPT: u64 = 144;

/// Why a report was not taken.
#[derive(Debug, Error)]
pub(super) enum ReportError {
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error("ledger: {0}")]
    Ledger(#[from] ClientError),
    #[error("the ledger refused: {0}")]
    Refused(String),
    #[error("the ledger's answer has no beacon")]
    Answer,
}

/// The hash of the block that opened an epoch.
pub(super) async fn beacon(client: &LedgerClient, epoch: Epoch) -> Result<[u8; 32], ReportError> {
    let answer = client.query(json!({ "query": "beacon", "epoch": epoch })).await?;
    let text = answer.get("beacon").and_then(Value::as_str).ok_or(ReportError::Answer)?;
    let mut beacon = [0; 32];
    hex::decode_to_slice(text, &mut beacon).map_err(|_| ReportError::Answer)?;
    Ok(beacon)
}

/// Reports the epochs that are over and not reported; `busy` is the oldest for
/// which an audit is under way.
pub(super) async fn submit(
    gateway: &Gateway,
    client: &LedgerClient,
    info: &ChainInfo,
    busy: Option<Epoch>,
) -> Result<(), ReportError> {
    let reported = gateway.meta.setting(REPORTED).await?.and_then(|text| text.parse().ok());
    let first = match reported {
        Some(reported) => Epoch(u64::saturating_add(reported, 1)),
        // Until there was an audit there is nothing to say.
        None => match gateway.meta.audited_epochs().await?.first() {
            Some(first) => *first,
            None => return Ok(()),
        },
    };
    let first = first.0.max(info.open.0.saturating_sub(LATE_MAX));
    let end = busy.map_or(info.open.0, |busy| busy.0.min(info.open.0));
    for epoch in (first..end).map(Epoch) {
        let lines = gateway.meta.audit_lines(epoch).await?;
        let parts = parts(gateway, info, epoch, &lines);
        for outcome in client.submit(parts).await? {
            outcome.map_err(ReportError::Refused)?;
        }
        gateway.meta.keep_setting(REPORTED, epoch.0.to_string()).await?;
        gateway.meta.forget_audits(Epoch(epoch.0.saturating_sub(KEPT))).await?;
        gateway.meta.forget_losses(now_ms()).await?;
    }
    Ok(())
}

/// The report of an epoch, cut to fit entries. It has one part at least.
fn parts(
    gateway: &Gateway,
    info: &ChainInfo,
    epoch: Epoch,
    lines: &[AuditLine],
) -> Vec<Submission> {
    let (key, chain) = (&gateway.key, info.chain);
    let (open, next) = (secret(key, chain, epoch), secret(key, chain, committed_epoch(epoch)));
    let mut chunks: Vec<&[AuditLine]> = lines.chunks(AUDIT_LINES_MAX).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let parts = chunks.into_iter().zip(0..AUDIT_PARTS_MAX).map(|(lines, part)| {
        let report = AuditReport {
            chain,
            gateway: gateway.id(),
            epoch,
            part,
            secret: open,
            commitment: commitment(&next),
            lines: lines.to_vec(),
            signature: UNSIGNED,
        };
        Submission::Audits(Box::new(report.signed(key)))
    });
    parts.collect()
}
