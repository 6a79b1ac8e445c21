//! What is configured for a bucket.
//!
//! All of it is one JSON document in the bucket's row, read with the bucket and
//! parsed once for each revision.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use s3s::dto;
use serde::{Deserialize, Serialize};
use sqlx::{Row, SqliteConnection};

use super::model::Versioning;
use super::versions::{json, to_json};
use super::{Meta, MetaError};
use crate::auth::acl::Acl;
use crate::auth::policy::Policy;
use crate::auth::public_access::Ownership;

/// The most that the configuration of a bucket may weigh, as JSON. It is read
/// with the bucket by each request.
const CONFIG_MAX: usize = 1024 * 1024;

/// Configurations that are kept parsed.
const PARSED_MAX: usize = 4096;

/// The configuration of a bucket; what was never set is `None` or empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BucketConfig {
    /// Who may do what; `None` is the owner alone.
    pub acl: Option<Acl>,
    /// Who owns what others write, and whether ACLs count.
    pub ownership: Option<Ownership>,
    /// What is public in spite of policies and ACLs: nothing.
    pub public_access_block: Option<dto::PublicAccessBlockConfiguration>,
    /// The bucket policy, as it was sent.
    pub policy: Option<String>,
    /// Tags, in the order they were given.
    pub tags: Vec<(String, String)>,
    /// Object lock and its default. There is no way back.
    pub object_lock: Option<dto::ObjectLockConfiguration>,
    /// Default encryption.
    pub encryption: Option<dto::ServerSideEncryptionConfiguration>,
    /// Which pages of other origins may ask.
    pub cors: Option<dto::CORSConfiguration>,
    /// What expires when.
    pub lifecycle: Option<dto::BucketLifecycleConfiguration>,
    /// Static website.
    pub website: Option<dto::WebsiteConfiguration>,
    /// Where accesses are logged.
    pub logging: Option<LogTarget>,
    /// Who is told of what happens.
    pub notification: Option<dto::NotificationConfiguration>,
    /// Who pays for requests.
    pub request_payment: Option<dto::RequestPaymentConfiguration>,
    /// Kept and given back.
    pub accelerate: Option<dto::AccelerateConfiguration>,
    /// Kept and given back.
    pub replication: Option<dto::ReplicationConfiguration>,
    /// Kept and given back, by id.
    pub analytics: BTreeMap<String, dto::AnalyticsConfiguration>,
    /// Kept and given back, by id.
    pub metrics: BTreeMap<String, dto::MetricsConfiguration>,
    /// Kept and given back, by id.
    pub inventory: BTreeMap<String, dto::InventoryConfiguration>,
    /// Kept and given back, by id.
    pub intelligent_tiering: BTreeMap<String, dto::IntelligentTieringConfiguration>,
    #[serde(skip)]
    pub(crate) parsed_policy: OnceLock<Option<Arc<Policy>>>,
}

impl BucketConfig {
    /// Puts another policy in place.
    pub fn set_policy(&mut self, policy: Option<String>) {
        self.policy = policy;
        self.parsed_policy = OnceLock::new();
    }

    /// The bucket policy, parsed. What cannot be parsed was refused when it
    /// came; if it is here all the same, it counts as one that denies.
    pub fn parsed_policy(&self, bucket: &str) -> Option<&Arc<Policy>> {
        let parsed = self.parsed_policy.get_or_init(|| {
            let policy = self.policy.as_deref()?;
            let parsed = Policy::parse_bucket(policy, bucket);
            Some(Arc::new(parsed.unwrap_or_else(|_| Policy::deny_all())))
        });
        parsed.as_ref()
    }
}

/// Where accesses are logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTarget {
    /// A bucket of the same account.
    pub bucket: String,
    /// What the keys of log objects begin with.
    pub prefix: String,
}

/// Configurations, parsed, by bucket and revision.
#[derive(Default)]
pub(super) struct ParsedConfigs(Mutex<HashMap<i64, (i64, Arc<BucketConfig>)>>);

impl ParsedConfigs {
    /// The configuration with this revision: `text`, unless it is known.
    pub fn get(&self, bucket: i64, rev: i64, text: &str) -> Result<Arc<BucketConfig>, MetaError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, config)) = known.get(&bucket)
            && *of == rev
        {
            return Ok(config.clone());
        }
        let config = Arc::new(json::<BucketConfig>(text)?);
        if known.len() >= PARSED_MAX {
            known.clear();
        }
        known.insert(bucket, (rev, config.clone()));
        Ok(config)
    }
}

impl Meta {
    /// Changes the configuration of a bucket in one transaction.
    pub async fn change_config<F>(&self, bucket: i64, change: F) -> Result<(), MetaError>
    where
        F: FnOnce(&mut BucketConfig) -> Result<(), MetaError> + Send + 'static,
    {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let row = sqlx::query("SELECT config FROM buckets WHERE id = ?")
                        .bind(bucket)
                        .fetch_optional(&mut *tx)
                        .await?
                        .ok_or(MetaError::NoSuchBucket)?;
                    let mut config: BucketConfig = json(row.get(0))?;
                    change(&mut config)?;
                    keep(tx, bucket, &config).await
                })
            })
            .await
    }

    /// Turns object lock on, with its default. It needs versions.
    pub async fn set_object_lock(
        &self,
        bucket: i64,
        lock: dto::ObjectLockConfiguration,
    ) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let row = sqlx::query("SELECT config, versioning FROM buckets WHERE id = ?")
                        .bind(bucket)
                        .fetch_optional(&mut *tx)
                        .await?
                        .ok_or(MetaError::NoSuchBucket)?;
                    if versioning_from_sql(row.get(1))? != Versioning::Enabled {
                        return Err(MetaError::Refused(
                            s3s::S3ErrorCode::InvalidBucketState,
                            "versioning must be 'Enabled' on the bucket to apply an Object Lock configuration",
                        ));
                    }
                    let mut config: BucketConfig = json(row.get(0))?;
                    config.object_lock = Some(lock);
                    keep(tx, bucket, &config).await
                })
            })
            .await
    }

    /// Turns versioning on or off. With object lock it stays on.
    pub async fn set_versioning(&self, bucket: i64, state: Versioning) -> Result<(), MetaError> {
        self.writer
            .run(move |tx| {
                Box::pin(async move {
                    let row = sqlx::query("SELECT config FROM buckets WHERE id = ?")
                        .bind(bucket)
                        .fetch_optional(&mut *tx)
                        .await?
                        .ok_or(MetaError::NoSuchBucket)?;
                    let config: BucketConfig = json(row.get(0))?;
                    if state != Versioning::Enabled && config.object_lock.is_some() {
                        return Err(MetaError::LockNeedsVersioning);
                    }
                    sqlx::query("UPDATE buckets SET versioning = ? WHERE id = ?")
                        .bind(versioning_to_sql(state))
                        .bind(bucket)
                        .execute(tx)
                        .await?;
                    Ok(())
                })
            })
            .await
    }
}

async fn keep(
    tx: &mut SqliteConnection,
    bucket: i64,
    config: &BucketConfig,
) -> Result<(), MetaError> {
    let text = to_json(config);
    if text.len() > CONFIG_MAX {
        return Err(MetaError::Refused(
            s3s::S3ErrorCode::InvalidRequest,
            "the configurations of the bucket are too large together",
        ));
    }
    sqlx::query("UPDATE buckets SET config = ?, rev = rev + 1 WHERE id = ?")
        .bind(text)
        .bind(bucket)
        .execute(tx)
        .await?;
    Ok(())
}

pub(super) fn versioning_to_sql(state: Versioning) -> i64 {
    match state {
        Versioning::Off => 0,
        Versioning::Enabled => 1,
        Versioning::Suspended => 2,
    }
}

pub(super) fn versioning_from_sql(value: i64) -> Result<Versioning, MetaError> {
    match value {
        0 => Ok(Versioning::Off),
        1 => Ok(Versioning::Enabled),
        2 => Ok(Versioning::Suspended),
        _ => Err(MetaError::Corrupt("a state of versioning")),
    }
}
