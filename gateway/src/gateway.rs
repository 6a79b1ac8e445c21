//! The composition root: everything that an operation may use, in one place.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use erasure::{Codec, Scheme};
use protocol::{AccountId, GatewayId, SecretKey, SegmentId};
use s3s::S3Result;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access_log::AccessLog;
use crate::auth::credentials::Credentials;
use crate::chain::Chain;
use crate::http::metrics::Metrics;
use crate::meta::{Bucket, ContentId, Meta, Millis, Part};
use crate::meter::Meter;
use crate::nodes::Nodes;
use crate::nodes::registry::Registry;
use crate::object::cipher::{Key, OpenError};
use crate::object::placement::Rules;
use crate::settings::Settings;
use crate::upkeep::funds::Funds;
use crate::vault::Vault;

/// How long a request waits for buffer space before it is told to slow down.
const BUFFER_WAIT: Duration = Duration::from_secs(2);

/// What a gateway is made of. Shared by all requests and loops.
pub struct Gateway {
    /// What it was told.
    pub settings: Settings,
    /// Its identity.
    pub key: SecretKey,
    /// Seals bucket keys and secrets.
    pub master: Key,
    /// What exists and where.
    pub meta: Meta,
    /// The storage nodes.
    pub nodes: Arc<dyn Nodes>,
    /// Who they are and how they do.
    pub registry: Arc<Registry>,
    /// The code of new objects.
    pub codec: Codec,
    /// What was moved.
    pub meter: Meter,
    /// Who can pay.
    pub funds: Funds,
    /// What the ledger said last.
    pub chain: Chain,
    /// Access keys.
    pub credentials: Credentials,
    /// Its metadata on the nodes.
    pub vault: Vault,
    /// Counters for operators.
    pub metrics: Metrics,
    /// Lines of access logs that were not written yet.
    pub access_log: AccessLog,
    /// Buffer space, in bytes.
    pub buffer: Arc<Semaphore>,
}

/// No buffer space: the client should come back.
#[derive(Debug, thiserror::Error)]
#[error("too many transfers at once")]
pub struct Overloaded;

impl Gateway {
    /// Its public key.
    pub fn id(&self) -> GatewayId {
        self.key.public().into()
    }

    /// The account that pays for what no customer used.
    pub fn own_account(&self) -> AccountId {
        protocol::statement::gateway_account(self.id())
    }

    /// Refuses writes that nobody could be paid for.
    pub fn check_write(&self, payer: AccountId) -> S3Result<()> {
        self.chain.check(self.id())?;
        self.funds.check(payer)
    }

    /// Refuses reads of an account that could not pay for too long.
    pub fn check_read(&self, payer: AccountId) -> S3Result<()> {
        self.funds.check_read(payer, self.settings.upkeep.freeze_after, now_ms())
    }

    /// What the placement of a segment of this scheme must keep to.
    pub fn placement_rules(&self, scheme: Scheme) -> Rules {
        Rules { parity: scheme.parity(), require: self.settings.nodes.require_domains }
    }

    /// Sets buffer space aside, or says that there is none.
    pub async fn reserve_buffer(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Overloaded> {
        let bytes = u32::try_from(bytes).map_err(|_| Overloaded)?;
        let permit = self.buffer.clone().acquire_many_owned(bytes);
        match tokio::time::timeout(BUFFER_WAIT, permit).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Overloaded),
        }
    }

    /// The key of a bucket.
    pub fn bucket_key(&self, bucket: &Bucket) -> Result<Key, OpenError> {
        self.master.unwrap(&bucket_context(&bucket.name), &bucket.wrapped_key)
    }

    /// A new bucket key for a bucket of this name, sealed.
    pub fn new_bucket_key(&self, name: &str) -> Vec<u8> {
        self.master.wrap(&bucket_context(name), &Key::generate())
    }

    /// The data key of a part of an object in `bucket`.
    pub fn open_data_key(
        &self,
        bucket: &Bucket,
        bucket_key: &Key,
        part: &Part,
    ) -> Result<Key, OpenError> {
        bucket_key.unwrap(&data_context(bucket, part.content), &part.wrapped_key)
    }

    /// Seals a data key for an object in `bucket`.
    pub fn wrap_data_key(
        &self,
        bucket: &Bucket,
        bucket_key: &Key,
        key: &Key,
        content: ContentId,
    ) -> Vec<u8> {
        bucket_key.wrap(&data_context(bucket, content), key)
    }

    /// When something deleted now may be removed.
    pub fn not_before(&self) -> Millis {
        now_ms() + self.grace_ms()
    }

    /// How long deleted things are kept.
    pub fn grace_ms(&self) -> Millis {
        i64::try_from(self.settings.delete_grace.as_millis()).unwrap_or(i64::MAX / 4)
    }
}

fn bucket_context(name: &str) -> Vec<u8> {
    [b"bucket key ".as_slice(), name.as_bytes()].concat()
}

fn data_context(bucket: &Bucket, content: ContentId) -> Vec<u8> {
    [b"data key ".as_slice(), &bucket.id.to_le_bytes(), &content.0].concat()
}

/// Milliseconds since 1970 by the system's clock.
pub fn now_ms() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A new segment id.
pub fn new_segment() -> SegmentId {
    SegmentId(protocol::keys::random())
}
