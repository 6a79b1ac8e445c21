//! What buckets tell of what happens in them: event names and patterns, which
//! target wants which event, and the record that is sent. Pure.
//!
//! A [`Draft`] is made by the operation, before it is known what exactly will
//! happen; the transaction that makes it happen completes it and puts it in the
//! outbox. Not here: whether a configuration may be set (`check`), and delivery
//! (`upkeep::outbox`).

pub mod check;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use s3s::dto::{EventList, NotificationConfiguration, NotificationConfigurationFilter};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::meta::{Bucket, Millis, canonical_id};

/// What the ARN of a webhook begins with; its name follows.
pub const WEBHOOK_ARN: &str = "arn:stratos:webhook:::";

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Name {
    Put,
    Post,
    Copy,
    CompleteMultipartUpload,
    Delete,
    DeleteMarkerCreated,
    TaggingPut,
    TaggingDelete,
    AclPut,
    LifecycleExpirationDelete,
    LifecycleExpirationMarker,
}

impl Name {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Put,
        Self::Post,
        Self::Copy,
        Self::CompleteMultipartUpload,
        Self::Delete,
        Self::DeleteMarkerCreated,
        Self::TaggingPut,
        Self::TaggingDelete,
        Self::AclPut,
        Self::LifecycleExpirationDelete,
        Self::LifecycleExpirationMarker,
    ];

    /// As records have it, without `s3:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Put => "ObjectCreated:Put",
            Self::Post => "ObjectCreated:Post",
            Self::Copy => "ObjectCreated:Copy",
            Self::CompleteMultipartUpload => "ObjectCreated:CompleteMultipartUpload",
            Self::Delete => "ObjectRemoved:Delete",
            Self::DeleteMarkerCreated => "ObjectRemoved:DeleteMarkerCreated",
            Self::TaggingPut => "ObjectTagging:Put",
            Self::TaggingDelete => "ObjectTagging:Delete",
            Self::AclPut => "ObjectAcl:Put",
            Self::LifecycleExpirationDelete => "LifecycleExpiration:Delete",
            Self::LifecycleExpirationMarker => "LifecycleExpiration:DeleteMarkerCreated",
        }
    }

    /// Whether it tells of a delete marker.
    pub fn is_of_marker(self) -> bool {
        matches!(self, Self::DeleteMarkerCreated | Self::LifecycleExpirationMarker)
    }

    fn version(self) -> &'static str {
        match self {
            Self::Put | Self::Post | Self::Copy | Self::CompleteMultipartUpload => "2.1",
            Self::Delete | Self::DeleteMarkerCreated => "2.1",
            _ => "2.3",
        }
    }

    /// Whether a pattern of a configuration means it.
    fn matches(self, pattern: &str) -> bool {
        let Some(pattern) = pattern.strip_prefix("s3:") else { return false };
        match pattern.strip_suffix(":*") {
            Some(group) => self.as_str().split(':').next() == Some(group),
            None => self.as_str() == pattern,
        }
    }
}

/// Where something happens, and who does it.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    region: String,
    bucket: String,
    owner: String,
    requester: String,
    address: Option<IpAddr>,
    key: Vec<u8>,
}

impl Origin {
    /// A request: `requester` is a canonical user id, or "" for anybody.
    pub fn of_request(
        region: &str,
        bucket: &Bucket,
        key: &[u8],
        requester: &str,
        address: Option<IpAddr>,
    ) -> Self {
        Self {
            region: region.to_owned(),
            bucket: bucket.name.clone(),
            owner: canonical_id(bucket.account),
            requester: if requester.is_empty() { "anonymous" } else { requester }.to_owned(),
            address,
            key: key.to_vec(),
        }
    }

    /// A lifecycle rule.
    pub fn of_lifecycle(region: &str, bucket: &Bucket, key: &[u8]) -> Self {
        Self::of_request(region, bucket, key, "s3.amazonaws.com", None)
    }
}

/// An event that will be told to one target if it happens.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The ARN of the target.
    pub target: String,
    /// What would happen.
    pub name: Name,
    configuration: String,
    origin: Arc<Origin>,
}

/// What is known once it has happened.
#[derive(Clone, Debug)]
pub struct Happened {
    /// When.
    pub at: Millis,
    /// Grows with every change of the key.
    pub seq: i64,
    /// The version, in a bucket that has versions.
    pub version_id: Option<String>,
    /// Size and entity tag, of what there is now.
    pub object: Option<(u64, String)>,
}

/// Drafts of those of `names` that a target of the bucket wants to hear of.
pub fn drafts(bucket: &Bucket, origin: &Origin, names: &[Name]) -> Vec<Draft> {
    let Some(config) = &bucket.config.notification else { return Vec::new() };
    let mut origin_of_all = None;
    let mut drafts = Vec::new();
    for subscription in subscriptions(config) {
        if !takes(subscription.filter, &origin.key) {
            continue;
        }
        let wanted =
            |name: &&Name| subscription.events.iter().any(|pattern| name.matches(pattern.as_ref()));
        for &name in names.iter().filter(wanted) {
            let origin = origin_of_all.get_or_insert_with(|| Arc::new(origin.clone())).clone();
            let configuration = subscription.id.unwrap_or_default().to_owned();
            drafts.push(Draft {
                target: subscription.target.to_owned(),
                name,
                configuration,
                origin,
            });
        }
    }
    drafts
}

/// One target of a configuration: queue, topic and function are the same here.
#[derive(Clone, Copy)]
struct Subscription<'a> {
    id: Option<&'a str>,
    target: &'a str,
    events: &'a EventList,
    filter: Option<&'a NotificationConfigurationFilter>,
}

fn subscriptions(config: &NotificationConfiguration) -> impl Iterator<Item = Subscription<'_>> {
    let queues = config.queue_configurations.iter().flatten().map(|one| Subscription {
        id: one.id.as_deref(),
        target: &one.queue_arn,
        events: &one.events,
        filter: one.filter.as_ref(),
    });
    let topics = config.topic_configurations.iter().flatten().map(|one| Subscription {
        id: one.id.as_deref(),
        target: &one.topic_arn,
        events: &one.events,
        filter: one.filter.as_ref(),
    });
    let functions = config.lambda_function_configurations.iter().flatten();
    let functions = functions.map(|one| Subscription {
        id: one.id.as_deref(),
        target: &one.lambda_function_arn,
        events: &one.events,
        filter: one.filter.as_ref(),
    });
    queues.chain(topics).chain(functions)
}

/// Whether a filter lets a key through: every rule of it must.
fn takes(filter: Option<&NotificationConfigurationFilter>, key: &[u8]) -> bool {
    let rules = filter.and_then(|filter| filter.key.as_ref()?.filter_rules.as_ref());
    rules.into_iter().flatten().all(|rule| {
        let value = rule.value.as_deref().unwrap_or_default().as_bytes();
        match rule.name.as_ref().map(|name| name.as_str().to_ascii_lowercase()).as_deref() {
            Some("prefix") => key.starts_with(value),
            Some("suffix") => key.ends_with(value),
            _ => false,
        }
    })
}

impl Draft {
    /// The record, now that it has happened: JSON.
    pub fn complete(&self, happened: &Happened) -> String {
        let origin = &self.origin;
        let mut object = json!({
            "key": encoded(&origin.key),
            "sequencer": format!("{:016X}", happened.seq),
        });
        if let Some((size, etag)) = &happened.object {
            object["size"] = json!(size);
            object["eTag"] = json!(etag);
        }
        if let Some(version) = &happened.version_id {
            object["versionId"] = json!(version);
        }
        let address = origin.address.map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string());
        let record = json!({
            "eventVersion": self.name.version(),
            "eventSource": "aws:s3",
            "awsRegion": origin.region,
            "eventTime": iso(happened.at),
            "eventName": self.name.as_str(),
            "userIdentity": { "principalId": origin.requester },
            "requestParameters": { "sourceIPAddress": address },
            "responseElements": {},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": self.configuration,
                "bucket": {
                    "name": origin.bucket,
                    "ownerIdentity": { "principalId": origin.owner },
                    "arn": format!("arn:aws:s3:::{}", origin.bucket),
                },
                "object": object,
            },
        });
        json!({ "Records": [record] }).to_string()
    }
}

/// What a target is sent when it is configured, to see that it is there.
pub fn test_record(bucket: &str, now: Millis) -> String {
    let record = json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": iso(now),
        "Bucket": bucket,
    });
    record.to_string()
}

/// The targets of a configuration, each once.
pub fn targets(config: &NotificationConfiguration) -> Vec<String> {
    let mut targets: Vec<String> =
        subscriptions(config).map(|subscription| subscription.target.to_owned()).collect();
    targets.sort();
    targets.dedup();
    targets
}

/// A key as records have it: a space is `+`, a slash is itself.
fn encoded(key: &[u8]) -> String {
    form_urlencoded::byte_serialize(key).collect::<String>().replace("%2F", "/")
}

fn iso(millis: Millis) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000);
    at.ok().and_then(|at| at.format(FORMAT).ok()).unwrap_or_default()
}
