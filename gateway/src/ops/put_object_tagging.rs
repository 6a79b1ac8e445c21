//! PutObjectTagging: replaces the tags of an object.

use std::sync::Arc;

use s3s::dto::{PutObjectTaggingInput, PutObjectTaggingOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::announce;
use super::tags;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::events::Name;
use crate::gateway::{Gateway, now_ms};
use crate::meta::Version;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, owner).await?;
    let id = input.version_id.as_deref();
    let action =
        if id.is_some() { Action::PutObjectVersionTagging } else { Action::PutObjectTagging };
    let kept = tags::from_document(input.tagging, tags::OBJECT_TAGS_MAX)?;
    let ask = Ask::object(caller, &bucket, action, &input.key);
    let version = access::version(gateway, ask, id).await?;
    let change = move |version: &mut Version| {
        version.attributes.tags = kept;
        Ok(())
    };
    let events = announce::of(gateway, caller, &bucket, &input.key, &[Name::TaggingPut]);
    let place = (bucket.id, input.key.into_bytes(), Some(version.version_id));
    let changed = gateway.meta.change_version_and_tell(place, events, now_ms(), change).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id: super::version_id(&bucket, &changed) }))
}
