//! The things that metadata is about.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use erasure::{CodecId, Scheme};
use protocol::ids::PublicKey;
use protocol::{AccountId, Incarnation, NodeId, Root, SegmentId};
use serde::{Deserialize, Serialize};

use super::config::BucketConfig;
use crate::auth::acl::Acl;

/// Milliseconds since 1970.
pub type Millis = i64;

/// Someone who owns buckets and pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Identity on the ledger; in hex, twice over, the S3 canonical user id.
    pub id: AccountId,
    /// Unique name.
    pub name: String,
    /// Shown in listings.
    pub display_name: String,
    /// For grants by e-mail; may be empty.
    pub email: String,
    /// When it was made.
    pub created_ms: Millis,
    /// The wallet that pays; without one this gateway opened it at the ledger.
    pub owner: Option<PublicKey>,
}

impl Account {
    /// The id that S3 shows: 64 hex digits.
    pub fn canonical_id(&self) -> String {
        canonical_id(self.id)
    }
}

/// The S3 canonical user id of an account: 64 hex digits, made from the id.
pub fn canonical_id(account: AccountId) -> String {
    hex::encode(blake3::derive_key("stratos canonical user id v1", &account.0))
}

/// A bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Never used again, so a new bucket of the same name inherits nothing.
    pub id: i64,
    /// Its S3 name.
    pub name: String,
    /// Its owner.
    pub account: AccountId,
    /// The bucket key under the master key.
    pub wrapped_key: Vec<u8>,
    /// When it was made.
    pub created_ms: Millis,
    /// Whether objects have versions.
    pub versioning: Versioning,
    /// What was configured.
    pub config: Arc<BucketConfig>,
}

/// Whether the objects of a bucket have versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versioning {
    /// They never had.
    #[default]
    Off,
    /// Every write makes one.
    Enabled,
    /// They had; a write replaces the version `null`.
    Suspended,
}

/// How a version is protected from deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockMode {
    /// Until its date, except from who may bypass it.
    Governance,
    /// Until its date, from everybody.
    Compliance,
}

/// What keeps a version from being deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lock {
    /// Retention: how strict, and until when.
    pub retention: Option<(LockMode, Millis)>,
    /// Legal hold: until it is lifted.
    pub legal_hold: bool,
}

impl Lock {
    /// Whether a version with this lock may be deleted now. Pure.
    pub fn allows_deletion(&self, bypass: bool, now: Millis) -> bool {
        let retained = match self.retention {
            Some((LockMode::Governance, until)) => now < until && !bypass,
            Some((LockMode::Compliance, until)) => now < until,
            None => false,
        };
        !retained && !self.legal_hold
    }
}

/// Names a run of encrypted bytes. Random, and never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentId(pub [u8; 16]);

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "content:{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

/// What is known of an object besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// `Content-Type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `Cache-Control`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// `Content-Disposition`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// `Content-Encoding`, without `aws-chunked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// `Expires`, as sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// `x-amz-website-redirect-location`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub website_redirect_location: Option<String>,
    /// `x-amz-meta-*`, names in lower case.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The checksum that the client asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Checksum>,
    /// Tags, in the order they were given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    /// Who may do what; `None` is the owner alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl: Option<Acl>,
    /// Whose key seals the data key.
    #[serde(skip_serializing_if = "Encryption::is_plain")]
    pub encryption: Encryption,
    /// `x-amz-storage-class`, if it is not STANDARD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

/// Whose key seals the data key of an object. The bytes are encrypted always.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encryption {
    /// The bucket's, and nobody asked (SSE-S3).
    #[default]
    Bucket,
    /// A key of the local key ring (SSE-KMS).
    Kms {
        /// Its id.
        key_id: String,
        /// The encryption context, as sent (base64).
        context: Option<String>,
    },
    /// The client's (SSE-C).
    Customer {
        /// MD5 of the key, in base64.
        key_md5: String,
    },
}

impl Encryption {
    fn is_plain(&self) -> bool {
        *self == Self::Bucket
    }
}

/// One of the five checksums of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC).
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32C,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// What a checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// The bytes of the object.
    FullObject,
    /// The checksums of its parts.
    Composite,
}

/// A checksum of an object or part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// Which one.
    pub algorithm: ChecksumAlgorithm,
    /// What it covers.
    pub kind: ChecksumKind,
    /// Base64; a composite one ends in `-` and the number of parts.
    pub value: String,
}

/// One part of a version: a content and the key to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// 1 for a single put.
    pub number: i32,
    /// The bytes.
    pub content: ContentId,
    /// Plain bytes.
    pub size: u64,
    /// The data key under the bucket key.
    pub wrapped_key: Vec<u8>,
    /// MD5 in hex, without quotes.
    pub etag: String,
    /// Its checksum, if one was asked for or computed.
    pub checksum: Option<Checksum>,
}

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Row of the version.
    pub id: i64,
    /// Its S3 version id: `null` in an unversioned bucket.
    pub version_id: String,
    /// Whether it is the one that a request without a version id means.
    pub latest: bool,
    /// Whether it says that the object is gone.
    pub delete_marker: bool,
    /// Plain bytes.
    pub size: u64,
    /// Without quotes.
    pub etag: String,
    /// When it was committed.
    pub modified_ms: Millis,
    /// Headers, user metadata, checksum, tags, ACL.
    pub attributes: Attributes,
    /// Who wrote it; `None` is anybody.
    pub owner: Option<AccountId>,
    /// What protects it.
    pub lock: Lock,
}

/// A line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: Vec<u8>,
    /// Its latest version, or the one that is listed.
    pub version: Version,
}

/// How a content was cut and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its id.
    pub id: ContentId,
    /// Plain bytes.
    pub size: u64,
    /// Data and parity.
    pub scheme: Scheme,
    /// The code.
    pub codec: CodecId,
    /// Tells the right data key from a wrong one.
    pub key_commit: [u8; 32],
    /// Small contents are here, encrypted.
    pub inline: Option<Vec<u8>>,
}

/// One segment and its shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number in the content.
    pub ordinal: u32,
    /// Its id.
    pub id: SegmentId,
    /// Encrypted bytes.
    pub len: u64,
    /// Those of its shards that were stored.
    pub shards: Vec<PlacedShard>,
}

/// A shard and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedShard {
    /// Its number in the scheme.
    pub index: u8,
    /// Who holds it.
    pub node: NodeId,
    /// Its root.
    pub root: Root,
    /// Its bytes.
    pub len: u64,
}

/// A shard that a node said is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredShard {
    /// The shard.
    pub placed: PlacedShard,
    /// The life of the node's folder that holds it.
    pub incarnation: Incarnation,
}

/// A content that has been written and waits for its commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its id.
    pub content: ContentId,
    /// Whose it is.
    pub account: AccountId,
    /// Plain bytes.
    pub size: u64,
    /// Tells the right data key from a wrong one.
    pub key_commit: [u8; 32],
    /// Data and parity.
    pub scheme: Scheme,
    /// The code.
    pub codec: CodecId,
    /// Small contents, encrypted. No intent was written for those.
    pub inline: Option<Vec<u8>>,
    /// The last segment, whose shards are recorded by the commit itself.
    pub last_segment: Option<StoredSegment>,
    /// Segments in all.
    pub segments: u32,
    /// The least number of shards each of them must have.
    pub quorum: u8,
}

/// A segment whose shards are on the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSegment {
    /// Its id.
    pub id: SegmentId,
    /// Encrypted bytes.
    pub len: u64,
    /// The shards that are durable.
    pub shards: Vec<StoredShard>,
}

/// What must hold for a write to happen, decided in its transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// `If-None-Match: *`: there must be no object.
    pub absent: bool,
    /// `If-None-Match` with an entity tag: the object must have another.
    pub other_than: Option<String>,
    /// `If-Match`: there must be one, with this entity tag or any (`*`).
    pub matches: Option<String>,
}

/// A multipart upload that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// Its bucket.
    pub bucket: i64,
    /// The key it will have.
    pub key: Vec<u8>,
    /// Who began it; `None` is anybody.
    pub account: Option<AccountId>,
    /// When.
    pub created_ms: Millis,
    /// What the object will have.
    pub attributes: Attributes,
    /// What will protect it, and whose it will be.
    pub promised: Promised,
}

/// What an upload will make of its object besides its attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Promised {
    /// What will protect it.
    pub lock: Lock,
    /// Whose it will be; `None` is anybody's.
    pub owner: Option<AccountId>,
}

/// A part of a multipart upload, and when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadedPart {
    /// The part.
    pub part: Part,
    /// When it was committed.
    pub modified_ms: Millis,
}
