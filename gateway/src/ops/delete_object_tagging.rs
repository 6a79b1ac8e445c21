//! DeleteObjectTagging: removes the tags of an object.

use std::sync::Arc;

use s3s::dto::{DeleteObjectTaggingInput, DeleteObjectTaggingOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::announce;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::events::Name;
use crate::gateway::{Gateway, now_ms};
use crate::meta::Version;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, owner).await?;
    let id = input.version_id.as_deref();
    let action =
        if id.is_some() { Action::DeleteObjectVersionTagging } else { Action::DeleteObjectTagging };
    let ask = Ask::object(caller, &bucket, action, &input.key);
    let version = access::version(gateway, ask, id).await?;
    let change = |version: &mut Version| {
        version.attributes.tags.clear();
        Ok(())
    };
    let events = announce::of(gateway, caller, &bucket, &input.key, &[Name::TaggingDelete]);
    let place = (bucket.id, input.key.into_bytes(), Some(version.version_id));
    let changed = gateway.meta.change_version_and_tell(place, events, now_ms(), change).await?;
    let output = DeleteObjectTaggingOutput { version_id: super::version_id(&bucket, &changed) };
    Ok(S3Response::with_status(output, http::StatusCode::NO_CONTENT))
}
