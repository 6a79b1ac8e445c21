//! Configurations of buckets, checked when they come. Pure.
//!
//! Not here: lifecycles (`upkeep::lifecycle::check`), notifications
//! (`events::check`), tags, policies, ACLs and locks, which have modules of their
//! own.

use s3s::dto::{
    AccelerateConfiguration, BucketAccelerateStatus, CORSConfiguration, LoggingEnabled,
    ObjectOwnership, OwnershipControls, OwnershipControlsRule, Payer, Protocol, Redirect,
    RequestPaymentConfiguration, ServerSideEncryption, ServerSideEncryptionConfiguration,
    WebsiteConfiguration,
};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::auth::public_access::Ownership;
use crate::error::{not_implemented, refuse};
use crate::meta::MetaError;

/// Configurations of one kind that a bucket may have.
const IDS_MAX: usize = 1000;
/// CORS rules.
const CORS_RULES_MAX: usize = 100;
/// Rules of a website.
const ROUTING_RULES_MAX: usize = 50;

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

/// Checks a website: an index and rules, or one redirect for everything.
pub fn website(configuration: &WebsiteConfiguration) -> S3Result<()> {
    let rules = configuration.routing_rules.as_deref().unwrap_or_default();
    if let Some(to) = &configuration.redirect_all_requests_to {
        let alone = configuration.index_document.is_none()
            && configuration.error_document.is_none()
            && rules.is_empty();
        if !alone {
            return Err(refuse(
                S3ErrorCode::InvalidRequest,
                "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.",
            ));
        }
        if to.host_name.is_empty() {
            return Err(malformed());
        }
        return protocol(to.protocol.as_ref());
    }
    let index = configuration.index_document.as_ref().ok_or_else(|| {
        invalid(
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
        )
    })?;
    if index.suffix.is_empty() || index.suffix.contains('/') {
        return Err(invalid("The IndexDocument Suffix is not well formed"));
    }
    if configuration.error_document.as_ref().is_some_and(|error| error.key.is_empty()) {
        return Err(invalid("The ErrorDocument Key is not well formed"));
    }
    if rules.len() > ROUTING_RULES_MAX {
        let have = rules.len();
        return Err(invalid(format!(
            "{have} routing rules provided, the number of routing rules in a website configuration is limited to {ROUTING_RULES_MAX}."
        )));
    }
    for rule in rules {
        redirect(&rule.redirect)?;
        let code =
            rule.condition.as_ref().and_then(|when| when.http_error_code_returned_equals.as_ref());
        if code.is_some_and(|code| !status(code).is_some_and(|code| (400..600).contains(&code))) {
            return Err(invalid(
                "The provided HTTP error code is not valid. Valid codes are 4XX or 5XX.",
            ));
        }
    }
    Ok(())
}

fn redirect(to: &Redirect) -> S3Result<()> {
    if to.replace_key_with.is_some() && to.replace_key_prefix_with.is_some() {
        return Err(invalid("You can only define ReplaceKeyPrefix or ReplaceKey but not both."));
    }
    let code = to.http_redirect_code.as_deref();
    if code.is_some_and(|code| !status(code).is_some_and(|code| (301..400).contains(&code))) {
        return Err(invalid(
            "The provided HTTP redirect code is not valid. Valid codes are 3XX except 300.",
        ));
    }
    protocol(to.protocol.as_ref())
}

fn status(code: &str) -> Option<u16> {
    code.parse().ok()
}

fn protocol(protocol: Option<&Protocol>) -> S3Result<()> {
    match protocol.map(Protocol::as_str) {
        None | Some(Protocol::HTTP | Protocol::HTTPS) => Ok(()),
        Some(_) => Err(invalid(
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.",
        )),
    }
}

/// Checks who pays.
pub fn payer(configuration: &RequestPaymentConfiguration) -> S3Result<()> {
    match configuration.payer.as_str() {
        Payer::BUCKET_OWNER | Payer::REQUESTER => Ok(()),
        _ => Err(malformed()),
    }
}

/// Checks transfer acceleration: on or off.
pub fn accelerate(configuration: &AccelerateConfiguration) -> S3Result<()> {
    match configuration.status.as_ref().map(BucketAccelerateStatus::as_str) {
        Some(BucketAccelerateStatus::ENABLED | BucketAccelerateStatus::SUSPENDED) => Ok(()),
        _ => Err(malformed()),
    }
}

/// Refuses what access logs cannot be: to leave it out would be a wrong success.
pub fn logging(asked: &LoggingEnabled) -> S3Result<()> {
    let format = asked.target_object_key_format.as_ref();
    if format.is_some_and(|format| format.partitioned_prefix.is_some()) {
        return Err(not_implemented("A partitioned prefix of log objects"));
    }
    if asked.target_grants.as_ref().is_some_and(|grants| !grants.is_empty()) {
        return Err(not_implemented("Grants on log objects"));
    }
    Ok(())
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

#[cfg(test)]
mod tests;
