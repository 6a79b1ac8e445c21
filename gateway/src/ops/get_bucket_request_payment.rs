//! GetBucketRequestPayment: who pays for requests.

use std::sync::Arc;

use s3s::dto::{GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput, Payer};
use s3s::{S3Request, S3Response, S3Result};

use super::access;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::gateway::Gateway;

/// Runs the operation.
pub async fn run(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: S3Request<GetBucketRequestPaymentInput>,
) -> S3Result<S3Response<GetBucketRequestPaymentOutput>> {
    let input = request.input;
    let owner = input.expected_bucket_owner.as_ref();
    let bucket =
        access::bucket(gateway, caller, &input.bucket, owner, Action::GetBucketRequestPayment)
            .await?;
    let kept = bucket.config.request_payment.as_ref().map(|kept| kept.payer.clone());
    let payer = kept.unwrap_or(Payer::from_static(Payer::BUCKET_OWNER));
    Ok(S3Response::new(GetBucketRequestPaymentOutput { payer: Some(payer) }))
}
