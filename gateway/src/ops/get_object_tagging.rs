//! GetObjectTagging: the tags of an object.

use std::sync::Arc;

use s3s::dto::{GetObjectTaggingInput, GetObjectTaggingOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{self, Ask};
use super::tags;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket = access::find_bucket(gateway, &input.bucket, owner).await?;
    let id = input.version_id.as_deref();
    let action =
        if id.is_some() { Action::GetObjectVersionTagging } else { Action::GetObjectTagging };
    let ask = Ask::object(caller, &bucket, action, &input.key);
    let version = access::version(gateway, ask, id).await?;
    Ok(S3Response::new(GetObjectTaggingOutput {
        tag_set: tags::to_set(&version.attributes.tags),
        version_id: super::version_id(&bucket, &version),
    }))
}
