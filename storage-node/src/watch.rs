//! What a node ends over by itself, so that whoever runs it starts it again or
//! hears of it: an index that answers nothing any more, a folder that is gone.
//!
//! A node that went on would look well: its shards would neither be found nor be
//! missed. Not here: a failed sync, after which it still reads (`store`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::RunError;
use crate::store::folder::superblock_path;
use crate::{Inner, blocking};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks until `stop`, or until something is wrong.
pub(crate) async fn run(node: Arc<Inner>, stop: CancellationToken) -> Result<(), RunError> {
    let path = node.folder.lock().unwrap_or_else(std::sync::PoisonError::into_inner).path.clone();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(PAUSE) => {}
        }
        if node.store.is_lost() {
            return Err(RunError::Index);
        }
        let superblock = superblock_path(&path);
        let found = blocking(move || std::fs::symlink_metadata(superblock)).await;
        if found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Err(RunError::FolderGone(path));
        }
    }
}
