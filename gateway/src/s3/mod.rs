//! The S3 protocol, by `s3s`: this module only translates. Who sent a request is
//! known by then: `s3s` sees no credentials. Each operation is a
//! call of `ops::*::run`; what is not listed here answers `NotImplemented`.

use std::sync::Arc;

use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateBucketInput,
    CreateBucketOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteBucketInput,
    DeleteBucketOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput,
    DeleteObjectsOutput, GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    ListObjectVersionsInput, ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput,
    ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput, PutObjectInput,
    PutObjectOutput, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::access_log::Noted;
use crate::auth::identity::{Caller, Facts};
use crate::error::refuse;
use crate::gateway::Gateway;
use crate::http::guard::Domains;
use crate::ops;

/// Largest XML body: 1,000 keys to delete, or 10,000 parts to complete.
const XML_MAX: usize = 2 * 1024 * 1024;

/// The S3 service of a gateway.
pub fn service(gateway: Arc<Gateway>, domains: Domains) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Translation { gateway });
    let mut config = S3Config::default();
    config.xml_max_body_size = XML_MAX;
    // The guard lets no browser form through; if one came, it would be taken in
    // whole before it is known who sent it.
    config.post_object_max_file_size = 1;
    config.form_max_field_size = 1;
    config.form_max_fields_size = 1;
    config.form_max_parts = 1;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_host(domains);
    builder.build()
}

/// From `s3s` to `ops`.
struct Translation {
    gateway: Arc<Gateway>,
}

/// Who sent the request, as the guard found out. Without the guard nobody did.
fn caller<T>(request: &S3Request<T>) -> S3Result<Caller> {
    let found = request.extensions.get::<Arc<Caller>>();
    let found = found.ok_or_else(|| refuse(S3ErrorCode::AccessDenied, "Access Denied"))?;
    Ok(Caller { facts: facts(request), ..Caller::clone(found) })
}

/// What policies may ask about a request.
fn facts<T>(request: &S3Request<T>) -> Facts {
    let query = request.uri.query().unwrap_or_default();
    Facts {
        headers: request.headers.clone(),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
    }
}

macro_rules! translate {
    ($($operation:ident: $input:ident => $output:ident,)*) => {
        #[async_trait::async_trait]
        impl S3 for Translation {
            $(async fn $operation(
                &self,
                request: S3Request<$input>,
            ) -> S3Result<S3Response<$output>> {
                let caller = caller(&request)?;
                let _timer = self.gateway.metrics.operation(stringify!($operation));
                let noted = Noted::caller(&request.extensions, &caller);
                let done = ops::$operation::run(&self.gateway, &caller, request).await;
                Noted::end(noted, done.as_ref().err());
                done
            })*
        }
    };
}

translate! {
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput,
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput,
    copy_object: CopyObjectInput => CopyObjectOutput,
    create_bucket: CreateBucketInput => CreateBucketOutput,
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput,
    delete_bucket: DeleteBucketInput => DeleteBucketOutput,
    delete_object: DeleteObjectInput => DeleteObjectOutput,
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput,
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput,
    get_object: GetObjectInput => GetObjectOutput,
    head_bucket: HeadBucketInput => HeadBucketOutput,
    head_object: HeadObjectInput => HeadObjectOutput,
    list_buckets: ListBucketsInput => ListBucketsOutput,
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput,
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput,
    list_objects: ListObjectsInput => ListObjectsOutput,
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output,
    list_parts: ListPartsInput => ListPartsOutput,
    put_object: PutObjectInput => PutObjectOutput,
    upload_part: UploadPartInput => UploadPartOutput,
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput,
}
