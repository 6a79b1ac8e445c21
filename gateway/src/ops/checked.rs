//! Configurations of buckets, checked when they come. Pure.

use s3s::dto::{
    BucketLifecycleConfiguration, CORSConfiguration, ObjectOwnership, OwnershipControls,
    OwnershipControlsRule, ServerSideEncryption, ServerSideEncryptionConfiguration,
    WebsiteConfiguration,
};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::auth::public_access::Ownership;
use crate::error::refuse;
use crate::meta::MetaError;
use crate::upkeep::lifecycle::check::check;

/// Configurations of one kind that a bucket may have.
const IDS_MAX: usize = 1000;
/// CORS rules.
const CORS_RULES_MAX: usize = 100;

fn malformed() -> S3Error {
    refuse(
        S3ErrorCode::MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

fn invalid(message: impl Into<String>) -> S3Error {
    refuse(S3ErrorCode::InvalidArgument, message)
}

/// The id in the query must be that in the document.
pub fn id(in_query: &str, in_document: &str) -> S3Result<()> {
    if in_query != in_document || in_query.is_empty() || in_query.len() > 64 {
        return Err(invalid("The id of the configuration is not the one in the query."));
    }
    Ok(())
}

/// Whether there is room for one more.
pub fn room(have: usize, is_replaced: bool) -> Result<(), MetaError> {
    if have >= IDS_MAX && !is_replaced {
        let code = S3ErrorCode::InvalidRequest;
        return Err(MetaError::Refused(
            code,
            "the bucket has too many configurations of this kind",
        ));
    }
    Ok(())
}

/// Checks CORS rules: methods, and at most one `*` each.
pub fn cors(configuration: &CORSConfiguration) -> S3Result<()> {
    let rules = &configuration.cors_rules;
    if rules.is_empty() || rules.len() > CORS_RULES_MAX {
        return Err(malformed());
    }
    for rule in rules {
        if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
            return Err(malformed());
        }
        let known = ["GET", "PUT", "HEAD", "POST", "DELETE"];
        if let Some(method) = rule.allowed_methods.iter().find(|m| !known.contains(&m.as_str())) {
            let message = format!(
                "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            );
            return Err(refuse(S3ErrorCode::InvalidRequest, message));
        }
        let headers = rule.allowed_headers.iter().flatten();
        for text in rule.allowed_origins.iter().chain(headers) {
            if text.matches('*').count() > 1 {
                let message =
                    format!("AllowedOrigin \"{text}\" can not have more than one wildcard.");
                return Err(refuse(S3ErrorCode::InvalidRequest, message));
            }
        }
        let exposed = rule.expose_headers.iter().flatten();
        let all = rule.allowed_origins.iter().chain(rule.allowed_headers.iter().flatten());
        if all.chain(exposed).any(|text| text.contains(char::is_control)) {
            return Err(invalid("A CORS rule may not contain control characters."));
        }
    }
    Ok(())
}

/// Checks a lifecycle; rules without an id get one.
pub fn lifecycle(
    configuration: Option<BucketLifecycleConfiguration>,
) -> S3Result<BucketLifecycleConfiguration> {
    let mut configuration = configuration.ok_or_else(malformed)?;
    check(&mut configuration)?;
    Ok(configuration)
}

/// Checks default encryption: one rule of a kind that is there.
pub fn encryption(configuration: &ServerSideEncryptionConfiguration) -> S3Result<()> {
    let [rule] = configuration.rules.as_slice() else { return Err(malformed()) };
    let default = rule.apply_server_side_encryption_by_default.as_ref().ok_or_else(malformed)?;
    match default.sse_algorithm.as_str() {
        ServerSideEncryption::AES256 if default.kms_master_key_id.is_some() => Err(invalid(
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms",
        )),
        ServerSideEncryption::AES256
        | ServerSideEncryption::AWS_KMS
        | ServerSideEncryption::AWS_KMS_DSSE => Ok(()),
        _ => Err(malformed()),
    }
}

/// Checks a website: an index, or one redirect for everything.
pub fn website(configuration: &WebsiteConfiguration) -> S3Result<()> {
    match (&configuration.redirect_all_requests_to, &configuration.index_document) {
        (Some(_), None) if configuration.error_document.is_none() => Ok(()),
        (None, Some(index)) if !index.suffix.is_empty() && !index.suffix.contains('/') => Ok(()),
        (Some(_), _) => Err(refuse(
            S3ErrorCode::InvalidRequest,
            "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.",
        )),
        (None, Some(_)) => Err(invalid("The IndexDocument Suffix is not well formed")),
        (None, None) => Err(invalid(
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
        )),
    }
}

/// The ownership that a document asks for.
pub fn ownership(controls: &OwnershipControls) -> S3Result<Ownership> {
    let [rule] = controls.rules.as_slice() else { return Err(malformed()) };
    parse_ownership(rule.object_ownership.as_str()).ok_or_else(malformed)
}

/// The ownership of this name.
pub fn parse_ownership(name: &str) -> Option<Ownership> {
    match name {
        ObjectOwnership::OBJECT_WRITER => Some(Ownership::ObjectWriter),
        ObjectOwnership::BUCKET_OWNER_PREFERRED => Some(Ownership::BucketOwnerPreferred),
        ObjectOwnership::BUCKET_OWNER_ENFORCED => Some(Ownership::BucketOwnerEnforced),
        _ => None,
    }
}

/// The document for an ownership.
pub fn ownership_document(ownership: Ownership) -> OwnershipControls {
    let name = match ownership {
        Ownership::ObjectWriter => ObjectOwnership::OBJECT_WRITER,
        Ownership::BucketOwnerPreferred => ObjectOwnership::BUCKET_OWNER_PREFERRED,
        Ownership::BucketOwnerEnforced => ObjectOwnership::BUCKET_OWNER_ENFORCED,
    };
    let object_ownership = ObjectOwnership::from_static(name);
    OwnershipControls { rules: vec![OwnershipControlsRule { object_ownership }] }
}
