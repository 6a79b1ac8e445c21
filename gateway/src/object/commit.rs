//! The last step of a write: one transaction makes it visible.
//!
//! When it is not known whether the transaction is on disk, the state of the
//! content decides: `live` means that it is; `open` is turned into `condemned`
//! by a compare-and-set, after which it can never be. Nothing is deleted on
//! this path.

use crate::gateway::Gateway;
use crate::meta::{
    Bucket, ContentId, ContentState, MetaError, NewVersion, Part, PartCommit, Placed, Version,
};
use crate::object::cipher::Key;
use crate::object::upload::{Uploaded, give_up};

/// What an upload becomes in an object of `bucket`, its data key sealed by
/// `sealing`.
pub fn place(
    gateway: &Gateway,
    bucket: &Bucket,
    sealing: &Key,
    number: i32,
    uploaded: Uploaded,
) -> Placed {
    let Uploaded { written, key, digested } = uploaded;
    let part = Part {
        number,
        content: written.content,
        size: written.size,
        wrapped_key: gateway.wrap_data_key(bucket, sealing, &key, written.content),
        etag: digested.etag(),
        checksum: digested.checksum,
    };
    Placed::Written(Box::new(written), part)
}

/// Commits a version. On an error what was written for it is given up.
pub async fn version(gateway: &Gateway, new: NewVersion) -> Result<Version, MetaError> {
    let written = new.parts.iter().find_map(written_content);
    // What the client is told if it is on disk, whoever replaced it meanwhile.
    let told = Version {
        id: 0,
        version_id: "null".to_owned(),
        latest: true,
        delete_marker: false,
        size: new.size,
        etag: new.etag.clone(),
        modified_ms: new.now_ms,
        attributes: new.attributes.clone(),
        owner: new.owner,
        lock: new.lock,
    };
    match gateway.meta.commit(new).await {
        Err(MetaError::CommitUnknown) if is_live(gateway, written).await? => {
            // Unless somebody has replaced it, it says itself what it is.
            let found = match written {
                Some(content) => gateway.meta.version_of(content).await?,
                None => None,
            };
            Ok(found.unwrap_or(told))
        }
        Err(error) => Err(failed(gateway, written, error).await),
        done => done,
    }
}

/// Commits a part of a multipart upload, likewise.
pub async fn part(gateway: &Gateway, commit: PartCommit) -> Result<(), MetaError> {
    let written = written_content(&commit.placed);
    match gateway.meta.commit_part(commit).await {
        Err(MetaError::CommitUnknown) if is_live(gateway, written).await? => Ok(()),
        Err(error) => Err(failed(gateway, written, error).await),
        done => done,
    }
}

fn written_content(placed: &Placed) -> Option<ContentId> {
    match placed {
        Placed::Written(written, _) => Some(written.content),
        Placed::Shared(_) => None,
    }
}

/// Finds out what became of a commit whose outcome is not known.
async fn is_live(gateway: &Gateway, written: Option<ContentId>) -> Result<bool, MetaError> {
    let Some(content) = written else { return Ok(false) };
    let is_live = |state| state == ContentState::Live;
    match gateway.meta.content_state(content).await? {
        ContentState::Open => {
            // Whoever wins this decides; then the state is final.
            gateway.meta.abandon(content, gateway.not_before()).await?;
            Ok(is_live(gateway.meta.content_state(content).await?))
        }
        state => Ok(is_live(state)),
    }
}

async fn failed(gateway: &Gateway, written: Option<ContentId>, error: MetaError) -> MetaError {
    if let Some(content) = written {
        give_up(gateway, content).await;
    }
    error
}
