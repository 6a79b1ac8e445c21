//! Deleting objects and versions: what a delete does depends on whether the
//! bucket has versions, and is decided in its transaction.

use protocol::AccountId;
use sqlx::{Row, SqliteConnection};

use super::model::{Attributes, Lock, Millis, Version, Versioning};
use super::versions::{
    NULL, Now, Place, drop_version, find, next_seq, put_on_top, version_id, versioning_of,
};
use super::{Meta, MetaError, outbox};
use crate::events::{Draft, Happened};

/// What must be true of the version that a delete means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteCondition {
    /// Its entity tag, or `*` for any.
    pub etag: Option<String>,
    /// Its size.
    pub size: Option<u64>,
    /// When it was committed, in whole seconds.
    pub modified_s: Option<i64>,
}

/// What a loop decided on: if it is not so any more, nothing is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The row of the version.
    pub row: i64,
    /// Whether it was the latest.
    pub is_latest: bool,
    /// Whether the key must have no other version.
    pub is_alone: bool,
    /// Its tags.
    pub tags: Vec<(String, String)>,
}

/// A delete.
#[derive(Clone, Debug)]
pub struct DeleteRequest {
    /// The bucket.
    pub bucket: i64,
    /// The key.
    pub key: Vec<u8>,
    /// The version; none means the object.
    pub version_id: Option<String>,
    /// What must hold.
    pub condition: DeleteCondition,
    /// What was decided on, if a loop asks.
    pub decided: Option<Decided>,
    /// What is told of it. The transaction picks those that fit what it does.
    pub events: Vec<Draft>,
    /// Whether GOVERNANCE retention does not count.
    pub bypass_governance: bool,
    /// Who asks; `None` is anybody.
    pub owner: Option<AccountId>,
    /// Random: the end of the delete marker's version id.
    pub entropy: u64,
    /// Now.
    pub now_ms: Millis,
    /// How long what is removed is kept for readers under way.
    pub grace_ms: Millis,
}

/// What a delete did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// The version that was removed, or the delete marker that was made.
    pub version_id: Option<String>,
    /// Whether that is a delete marker.
    pub delete_marker: bool,
    /// Whether anything changed.
    pub changed: bool,
}

impl Meta {
    /// Deletes an object or a version. Deleting what is not there is no error,
    /// unless something was to hold for it.
    pub async fn delete(&self, request: DeleteRequest) -> Result<Deleted, MetaError> {
        self.writer.run(move |tx| Box::pin(async move { delete(tx, &request).await })).await
    }
}

/// Whether `found` is what the delete means. Pure.
fn check(condition: &DeleteCondition, found: Option<&Version>) -> Result<(), MetaError> {
    // What is not there is what a delete wants.
    let Some(found) = found else { return Ok(()) };
    let etag = condition.etag.as_ref().is_none_or(|tag| tag == "*" || *tag == found.etag);
    let size = condition.size.is_none_or(|size| size == found.size);
    let modified = condition.modified_s.is_none_or(|time| time == found.modified_ms / 1000);
    if etag && size && modified { Ok(()) } else { Err(MetaError::PreconditionFailed) }
}

pub(super) async fn delete(
    tx: &mut SqliteConnection,
    request: &DeleteRequest,
) -> Result<Deleted, MetaError> {
    let versioning = versioning_of(tx, request.bucket).await?;
    let found = find(tx, request.bucket, &request.key, request.version_id.as_deref()).await?;
    check(&request.condition, found.as_ref())?;
    if let Some(decided) = &request.decided {
        check_decided(tx, request, decided, found.as_ref()).await?;
    }
    match (&request.version_id, versioning, found) {
        (Some(id), _, None) => Ok(Deleted { version_id: Some(id.clone()), ..Deleted::default() }),
        (Some(_), _, Some(found)) => remove(tx, request, &found).await,
        (None, Versioning::Off, None) => Ok(Deleted::default()),
        (None, Versioning::Off, Some(found)) => {
            remove(tx, request, &found).await?;
            Ok(Deleted { changed: true, ..Deleted::default() })
        }
        (None, Versioning::Enabled | Versioning::Suspended, found) => {
            mark(tx, request, versioning, found.as_ref()).await
        }
    }
}

/// Whether things are still as they were when it was decided to delete.
async fn check_decided(
    tx: &mut SqliteConnection,
    request: &DeleteRequest,
    decided: &Decided,
    found: Option<&Version>,
) -> Result<(), MetaError> {
    let is_same = |found: &Version| {
        found.id == decided.row
            && found.latest == decided.is_latest
            && found.attributes.tags == decided.tags
    };
    if !found.is_some_and(is_same) {
        return Err(MetaError::PreconditionFailed);
    }
    if decided.is_alone {
        let row = sqlx::query("SELECT count(*) FROM versions WHERE bucket = ? AND key = ?")
            .bind(request.bucket)
            .bind(&request.key)
            .fetch_one(tx)
            .await?;
        if row.get::<i64, _>(0) != 1 {
            return Err(MetaError::PreconditionFailed);
        }
    }
    Ok(())
}

/// Removes one version; if it was the latest, the one before it is again.
async fn remove(
    tx: &mut SqliteConnection,
    request: &DeleteRequest,
    found: &Version,
) -> Result<Deleted, MetaError> {
    let now = Now { now_ms: request.now_ms, grace_ms: request.grace_ms };
    drop_version(tx, found, now, request.bypass_governance).await?;
    if found.latest {
        sqlx::query(
            "UPDATE versions SET latest = 1 WHERE id =
                (SELECT id FROM versions WHERE bucket = ? AND key = ? ORDER BY seq DESC LIMIT 1)",
        )
        .bind(request.bucket)
        .bind(&request.key)
        .execute(&mut *tx)
        .await?;
    }
    if !request.events.is_empty() {
        // Of its own, so that it comes behind what told of the version itself.
        let seq = next_seq(tx, request.bucket, &request.key).await?;
        let version_id = (found.version_id != NULL).then(|| found.version_id.clone());
        tell(tx, request, false, Happened { at: request.now_ms, seq, version_id, object: None })
            .await?;
    }
    Ok(Deleted {
        version_id: Some(found.version_id.clone()),
        delete_marker: found.delete_marker,
        changed: true,
    })
}

/// Puts a delete marker on top.
async fn mark(
    tx: &mut SqliteConnection,
    request: &DeleteRequest,
    versioning: Versioning,
    present: Option<&Version>,
) -> Result<Deleted, MetaError> {
    let seq = next_seq(tx, request.bucket, &request.key).await?;
    let id = match versioning {
        Versioning::Enabled => version_id(seq, request.entropy),
        Versioning::Off | Versioning::Suspended => NULL.to_owned(),
    };
    let marker = Version {
        id: 0,
        version_id: id.clone(),
        latest: true,
        delete_marker: true,
        size: 0,
        etag: String::new(),
        modified_ms: present.map_or(request.now_ms, |old| old.modified_ms.max(request.now_ms)),
        attributes: Attributes::default(),
        owner: request.owner,
        lock: Lock::default(),
    };
    let place = Place { bucket: request.bucket, key: &request.key, seq };
    let (_, replaced) = put_on_top(tx, place, &marker).await?;
    if let Some(replaced) = replaced {
        let now = Now { now_ms: request.now_ms, grace_ms: request.grace_ms };
        drop_version(tx, &replaced, now, request.bypass_governance).await?;
    }
    let version_id = Some(id);
    let happened =
        Happened { at: marker.modified_ms, seq, version_id: version_id.clone(), object: None };
    tell(tx, request, true, happened).await?;
    Ok(Deleted { version_id, delete_marker: true, changed: true })
}

/// Keeps what is to be told of a delete that made a marker, or of one that did
/// not.
async fn tell(
    tx: &mut SqliteConnection,
    request: &DeleteRequest,
    made_marker: bool,
    happened: Happened,
) -> Result<(), MetaError> {
    let fitting = request.events.iter().filter(|draft| draft.name.is_of_marker() == made_marker);
    outbox::keep(tx, request.bucket, fitting, &happened).await
}
