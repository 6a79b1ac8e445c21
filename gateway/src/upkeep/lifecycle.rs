//! Carries out the lifecycles of buckets: thin loops around `rules`.
//!
//! Each round goes through the buckets that have rules. They take turns, a page
//! of versions each, so that a large bucket keeps no other waiting. Whatever is
//! done is decided again in its transaction: a version that was replaced,
//! tagged otherwise or locked meanwhile stays.
//!
//! `Settings::upkeep.lifecycle_day` makes a day last seconds, for tests. It
//! changes when rules are carried out, not the dates that clients are told.

pub mod check;
pub mod rules;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use futures::{StreamExt, stream};
use s3s::dto::BucketLifecycleConfiguration;
use tokio_util::sync::CancellationToken;

use crate::events::{self, Name, Origin};
use crate::gateway::{Gateway, now_ms};
use crate::meta::{
    Bucket, Decided, DeleteCondition, DeleteRequest, ListQuery, Listed, MetaError, UploadsQuery,
    Version, VersionsQuery,
};
use rules::{Action, Clock, Standing};

/// Versions in one turn of a bucket.
const PAGE: usize = 1000;

/// Changes that wait for the same transaction.
const TOGETHER: usize = 64;

/// Buckets that are looked up at once.
const BUCKETS: u32 = 500;

/// Runs until `stop`.
pub async fn run(gateway: Arc<Gateway>, stop: CancellationToken) {
    let every = gateway.settings.upkeep.lifecycle_every();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = round(&gateway) => done,
        };
        if let Err(error) = done {
            tracing::warn!(%error, "lifecycle: round ended early");
        }
    }
}

/// Goes through all buckets once.
pub async fn round(gateway: &Gateway) -> Result<(), MetaError> {
    let mut turns: VecDeque<Turn> = VecDeque::new();
    let mut after = 0;
    loop {
        let buckets = gateway.meta.buckets(after, BUCKETS).await?;
        let Some(last) = buckets.last() else { break };
        after = last.id;
        turns.extend(buckets.into_iter().filter_map(Turn::begin));
    }
    while let Some(mut turn) = turns.pop_front() {
        match turn.go_on(gateway).await {
            Ok(true) => turns.push_back(turn),
            // Deleted since the round began.
            Ok(false) | Err(MetaError::NoSuchBucket) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A bucket on its way through a round.
struct Turn {
    bucket: Bucket,
    query: VersionsQuery,
    walk: Walk,
    has_begun: bool,
}

impl Turn {
    fn begin(bucket: Bucket) -> Option<Self> {
        let rules = bucket.config.lifecycle.as_ref().filter(|rules| rules::is_active(rules))?;
        let list = ListQuery {
            bucket: bucket.id,
            prefix: rules::common_prefix(rules).into(),
            limit: PAGE,
            ..ListQuery::default()
        };
        let query = VersionsQuery { list, after_version: None };
        Some(Self { bucket, query, walk: Walk::default(), has_begun: false })
    }

    /// One page. Whether there is more.
    async fn go_on(&mut self, gateway: &Gateway) -> Result<bool, MetaError> {
        let config = self.bucket.config.clone();
        let Some(rules) = &config.lifecycle else { return Ok(false) };
        let clock = Clock::new(now_ms(), gateway.settings.upkeep.lifecycle_day);
        if !self.has_begun {
            self.has_begun = true;
            abort_uploads(gateway, &self.bucket, rules, clock).await?;
        }
        let page = gateway.meta.list_versions(&self.query).await?;
        let mut seen: Vec<_> =
            page.items.into_iter().filter_map(|listed| self.walk.next(listed)).collect();
        if page.next.is_none() {
            seen.extend(self.walk.end());
        }
        let bucket = &self.bucket;
        stream::iter(seen)
            .map(|(listed, standing)| carry_out(gateway, bucket, rules, (listed, standing), clock))
            .buffer_unordered(TOGETHER)
            .for_each(|()| async {})
            .await;
        let Some((key, version)) = page.next else { return Ok(false) };
        self.query.list.after = key;
        self.query.after_version = Some(version);
        Ok(true)
    }
}

/// Follows the versions of keys, the latest first, and says where each stands.
/// A version is let out when the one behind it has been seen.
#[derive(Default)]
struct Walk {
    held: Option<(Listed, Standing)>,
}

impl Walk {
    fn next(&mut self, listed: Listed) -> Option<(Listed, Standing)> {
        let mut before = self.held.take();
        let standing = match &mut before {
            Some((newer, standing)) if newer.key == listed.key => {
                standing.is_alone = false;
                Standing {
                    noncurrent_since: Some(newer.version.modified_ms),
                    newer_noncurrent: match standing.noncurrent_since {
                        None => 0,
                        Some(_) => standing.newer_noncurrent.saturating_add(1),
                    },
                    is_alone: false,
                }
            }
            _ => Standing { is_alone: true, ..Standing::default() },
        };
        self.held = Some((listed, standing));
        before
    }

    fn end(&mut self) -> Option<(Listed, Standing)> {
        self.held.take()
    }
}

/// Decides about one version, and does it. What has changed since it was listed
/// is left for the next round.
async fn carry_out(
    gateway: &Gateway,
    bucket: &Bucket,
    rules: &BucketLifecycleConfiguration,
    (listed, standing): (Listed, Standing),
    clock: Clock,
) {
    let Listed { key, version } = listed;
    let Some(decision) = rules::decide(rules, &key, &version, standing, clock) else { return };
    let rule = decision.rule;
    let done = match decision.action {
        Action::Expire => {
            let request = request(gateway, bucket, key, (&version, standing), None);
            gateway.meta.delete(request).await.map(drop)
        }
        Action::Remove => {
            let id = Some(version.version_id.clone());
            let request = request(gateway, bucket, key, (&version, standing), id);
            gateway.meta.delete(request).await.map(drop)
        }
        Action::Relabel(class) => relabel(gateway, bucket, key, version, class).await,
    };
    match done {
        Ok(()) => {
            gateway.metrics.upkeep.lifecycle_actions.inc();
            tracing::debug!(bucket = bucket.name, rule, "lifecycle: rule carried out");
        }
        Err(MetaError::PreconditionFailed | MetaError::Locked | MetaError::NoSuchVersion) => {}
        Err(error) => tracing::warn!(bucket = bucket.name, rule, %error, "lifecycle: not done"),
    }
}

fn request(
    gateway: &Gateway,
    bucket: &Bucket,
    key: Vec<u8>,
    (version, standing): (&Version, Standing),
    version_id: Option<String>,
) -> DeleteRequest {
    let origin = Origin::of_lifecycle(&gateway.settings.region, bucket, &key);
    let names = [Name::LifecycleExpirationDelete, Name::LifecycleExpirationMarker];
    DeleteRequest {
        bucket: bucket.id,
        key,
        version_id,
        condition: DeleteCondition::default(),
        decided: Some(Decided {
            row: version.id,
            is_latest: version.latest,
            is_alone: standing.is_alone && version.delete_marker,
            tags: version.attributes.tags.clone(),
        }),
        events: events::drafts(bucket, &origin, &names),
        bypass_governance: false,
        owner: Some(bucket.account),
        entropy: u64::from_le_bytes(protocol::keys::random()),
        now_ms: now_ms(),
        grace_ms: gateway.grace_ms(),
    }
}

async fn relabel(
    gateway: &Gateway,
    bucket: &Bucket,
    key: Vec<u8>,
    version: Version,
    class: String,
) -> Result<(), MetaError> {
    let id = Some(version.version_id.clone());
    let change = move |found: &mut Version| {
        if found.id != version.id || found.attributes.tags != version.attributes.tags {
            return Err(MetaError::PreconditionFailed);
        }
        found.attributes.storage_class = (class != "STANDARD").then_some(class);
        Ok(())
    };
    gateway.meta.change_version(bucket.id, key, id, change).await.map(drop)
}

async fn abort_uploads(
    gateway: &Gateway,
    bucket: &Bucket,
    rules: &BucketLifecycleConfiguration,
    clock: Clock,
) -> Result<(), MetaError> {
    let list = ListQuery { bucket: bucket.id, limit: PAGE, ..ListQuery::default() };
    let page = gateway.meta.list_uploads(&UploadsQuery { list, after_id: None }).await?;
    for upload in page.items {
        if !rules::is_upload_over(rules, &upload.key, upload.created_ms, clock) {
            continue;
        }
        let not_before = gateway.not_before();
        match gateway.meta.abort_upload(bucket.id, upload.key, upload.id, not_before).await {
            Ok(()) => drop(gateway.metrics.upkeep.lifecycle_actions.inc()),
            // Completed or aborted meanwhile.
            Err(MetaError::NoSuchUpload) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What `x-amz-expiration` says of the latest version of an object.
pub fn expiration(bucket: &Bucket, key: &str, version: &Version) -> Option<String> {
    let rules = bucket.config.lifecycle.as_ref().filter(|_| version.latest)?;
    let clock = Clock::real(now_ms());
    let (due, rule) = rules::expiry(rules, key.as_bytes(), version, clock)?;
    let mut date = Vec::new();
    let at = time::OffsetDateTime::from_unix_timestamp(due / 1000).ok()?;
    let at = s3s::dto::Timestamp::from(at);
    at.format(s3s::dto::TimestampFormat::HttpDate, &mut date).ok()?;
    let date = String::from_utf8(date).ok()?;
    let rule: String = form_urlencoded::byte_serialize(rule.as_bytes()).collect();
    Some(format!("expiry-date=\"{date}\", rule-id=\"{}\"", rule.replace('+', "%20")))
}
