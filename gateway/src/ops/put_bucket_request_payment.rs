//! PutBucketRequestPayment: who pays for requests: kept and given back.

use std::sync::Arc;

use s3s::dto::{PutBucketRequestPaymentInput, PutBucketRequestPaymentOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::{access, checked};
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;
use crate::meta::BucketConfig;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<PutBucketRequestPaymentInput>,
) -> S3Result<S3Response<PutBucketRequestPaymentOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::PutBucketRequestPayment)
            .await?;
    let kept = input.request_payment_configuration;
    checked::payer(&kept)?;
    let change = move |config: &mut BucketConfig| {
        config.request_payment = Some(kept);
        Ok(())
    };
    gateway.meta.change_config(bucket.id, change).await?;
    Ok(S3Response::new(PutBucketRequestPaymentOutput::default()))
}
