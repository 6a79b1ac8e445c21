//! Writes access logs: the lines of each bucket become an object in the bucket
//! that its owner named, by the same path as any upload.
//!
//! Where a log goes is looked up anew each time, so a change takes effect within
//! one interval. Not here: the lines (`access_log`).

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::HeaderMap;
use s3s::S3ErrorCode;
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokio_util::sync::CancellationToken;

use crate::access_log::{Batch, Source};
use crate::gateway::{Gateway, now_ms};
use crate::meta::{Attributes, Bucket, MetaError, Millis, NewVersion, Precondition};
use crate::object::commit;
use crate::object::upload::{UploadError, UploadRequest, upload};
use crate::ops::{encryption, lock};

/// Buckets that are looked up at once.
const BUCKETS: u32 = 500;

/// Why a log could not be written.
#[derive(Debug, Error)]
enum LogError {
    #[error("the bucket wants no log any more")]
    Unwanted,
    #[error("the bucket of the log belongs to another account")]
    Foreign,
    #[error("{0:?}")]
    Refused(S3ErrorCode),
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    Meta(#[from] MetaError),
}

/// Runs until `stop`. What is held then is written by [`flush`].
pub async fn run(gateway: Arc<Gateway>, stop: CancellationToken) {
    loop {
        if let Err(error) = find_sources(&gateway).await {
            tracing::warn!(%error, "access logs: buckets were not looked up");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(gateway.settings.upkeep.log_every) => {}
        }
        // Not cut off by a stop: lines that were taken out would be lost.
        flush(&gateway).await;
    }
}

/// Finds the buckets that want logs.
pub async fn find_sources(gateway: &Gateway) -> Result<(), MetaError> {
    let (mut sources, mut after) = (HashMap::new(), 0);
    loop {
        let buckets = gateway.meta.buckets(after, BUCKETS).await?;
        let Some(last) = buckets.last() else { break };
        after = last.id;
        for bucket in buckets {
            if let Some(target) = bucket.config.logging.clone() {
                sources.insert(bucket.name, Source { owner: bucket.account, target });
            }
        }
    }
    gateway.access_log.set_sources(sources);
    Ok(())
}

/// Writes what is held.
pub async fn flush(gateway: &Arc<Gateway>) {
    let counters = &gateway.metrics.upkeep;
    for batch in gateway.access_log.take() {
        let (bucket, lines) = (batch.bucket.clone(), batch.lines);
        match write(gateway, batch).await {
            Ok(()) => drop(counters.log_lines.inc_by(lines)),
            Err(error) => {
                counters.log_lines_dropped.inc_by(lines);
                tracing::warn!(bucket, lines, %error, "access logs: lines were lost");
            }
        }
    }
}

async fn write(gateway: &Arc<Gateway>, batch: Batch) -> Result<(), LogError> {
    let source = gateway.access_log.source(&batch.bucket).ok_or(LogError::Unwanted)?;
    let target = gateway.meta.bucket(&source.target.bucket).await?;
    if target.account != source.owner {
        return Err(LogError::Foreign);
    }
    let now = now_ms();
    let key = key(&source.target.prefix, now, protocol::keys::random());
    put(gateway, &target, key, batch.text.into_bytes().into(), now).await
}

/// Puts an object as the owner of the bucket, encrypted and locked as the bucket
/// does by default.
async fn put(
    gateway: &Arc<Gateway>,
    bucket: &Bucket,
    key: String,
    bytes: Bytes,
    now: Millis,
) -> Result<(), LogError> {
    let refused = |error: s3s::S3Error| LogError::Refused(error.code().clone());
    let none = HeaderMap::new();
    let lock = lock::of_new(bucket, &none, now).map_err(refused)?;
    let sealing = encryption::for_write(gateway, bucket, &none).await.map_err(refused)?;
    let request = UploadRequest {
        account: bucket.account,
        checksum: None,
        size_hint: u64::try_from(bytes.len()).ok(),
    };
    let body = stream::iter([Ok::<_, std::io::Error>(bytes)]);
    let uploaded = upload(gateway, request, body).await?;
    let new = NewVersion {
        bucket: bucket.id,
        key: key.into_bytes(),
        size: uploaded.written.size,
        etag: uploaded.digested.etag(),
        attributes: Attributes {
            content_type: Some("text/plain".to_owned()),
            encryption: sealing.encryption.clone(),
            ..Attributes::default()
        },
        owner: Some(bucket.account),
        lock,
        entropy: u64::from_le_bytes(protocol::keys::random()),
        parts: vec![commit::place(gateway, bucket, &sealing.key, 1, uploaded)],
        precondition: Precondition::default(),
        events: Vec::new(),
        now_ms: now,
        grace_ms: gateway.grace_ms(),
    };
    commit::version(gateway, new).await?;
    Ok(())
}

/// The key of a log object.
fn key(prefix: &str, now: Millis, random: [u8; 8]) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]-[hour]-[minute]-[second]");
    let at = OffsetDateTime::from_unix_timestamp(now / 1000);
    let at = at.ok().and_then(|at| at.format(FORMAT).ok()).unwrap_or_default();
    format!("{prefix}{at}-{}", hex::encode_upper(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_logs_sort_by_time() {
        let key = key("logs/", 1_549_411_238_999, [0xab; 8]);
        assert_eq!(key, "logs/2019-02-06-00-00-38-ABABABABABABABAB");
    }
}
