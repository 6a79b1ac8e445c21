//! STS, and what of IAM clients ask without being asked to: not there yet.

use std::sync::Arc;

use s3s::HttpResponse;

use super::guard::{Code, RequestIds, S3Refusal};
use crate::auth::identity::Caller;
use crate::gateway::Gateway;

/// Answers a call. `form` is its body, of a caller that the guard has verified;
/// it may be anybody.
pub async fn handle(
    _gateway: &Arc<Gateway>,
    _caller: &Caller,
    _form: Vec<(String, String)>,
) -> HttpResponse {
    S3Refusal::new(Code::NotImplemented, "STS and IAM are not implemented here.")
        .into_response("/", &RequestIds::random())
}
