use s3s::dto::{PartitionedPrefix, SimplePrefix, TargetGrant, TargetObjectKeyFormat};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

/// The code of a refusal, or "".
fn code<T: DeserializeOwned>(document: Value, check: impl Fn(&T) -> S3Result<()>) -> String {
    let document: T = serde_json::from_value(document).unwrap();
    check(&document).err().map_or_else(String::new, |error| error.code().as_str().to_owned())
}

#[test]
fn cors_rules() {
    let verdict = |rules: Value| code(json!({"cors_rules": rules}), cors);
    let rule = |method: &str, origin: &str| json!({"allowed_methods": [method], "allowed_origins": [origin]});
    assert_eq!(verdict(json!([rule("GET", "https://*.test")])), "");
    assert_eq!(verdict(json!(vec![rule("PUT", "*"); 100])), "");
    assert_eq!(verdict(json!(vec![rule("PUT", "*"); 101])), "MalformedXML");
    assert_eq!(verdict(json!([])), "MalformedXML");
    assert_eq!(verdict(json!([rule("get", "*")])), "InvalidRequest");
    assert_eq!(verdict(json!([rule("OPTIONS", "*")])), "InvalidRequest");
    assert_eq!(verdict(json!([rule("GET", "http://*.*")])), "InvalidRequest");
    assert_eq!(verdict(json!([rule("GET", "a\r\nb")])), "InvalidArgument");
    let headers = json!([{"allowed_methods": ["GET"], "allowed_origins": ["*"],
        "allowed_headers": ["x-*-*"]}]);
    assert_eq!(verdict(headers), "InvalidRequest");
    let none = json!([{"allowed_methods": [], "allowed_origins": ["*"]}]);
    assert_eq!(verdict(none), "MalformedXML");
}

#[test]
fn default_encryption() {
    let by = |default: Value| json!({"apply_server_side_encryption_by_default": default});
    let verdict = |rules: Value| code(json!({"rules": rules}), encryption);
    let aes = by(json!({"sse_algorithm": "AES256"}));
    assert_eq!(verdict(json!([aes])), "");
    assert_eq!(
        verdict(json!([by(json!({"sse_algorithm": "aws:kms", "kms_master_key_id": "k"}))])),
        ""
    );
    let both = by(json!({"sse_algorithm": "AES256", "kms_master_key_id": "k"}));
    assert_eq!(verdict(json!([both])), "InvalidArgument");
    assert_eq!(verdict(json!([by(json!({"sse_algorithm": "rot13"}))])), "MalformedXML");
    assert_eq!(verdict(json!([aes, aes])), "MalformedXML");
    assert_eq!(verdict(json!([{}])), "MalformedXML");
}

#[test]
fn websites() {
    let verdict = |document: Value| code(document, website);
    let site = |rule: Value| json!({"index_document": {"suffix": "i"}, "routing_rules": [rule]});
    assert_eq!(verdict(json!({"index_document": {"suffix": "index.html"}})), "");
    assert_eq!(verdict(json!({"redirect_all_requests_to": {"host_name": "a.test"}})), "");
    assert_eq!(verdict(json!({})), "InvalidArgument");
    assert_eq!(verdict(json!({"index_document": {"suffix": "a/b"}})), "InvalidArgument");
    assert_eq!(verdict(json!({"index_document": {"suffix": ""}})), "InvalidArgument");
    let both = json!({"index_document": {"suffix": "i"},
        "redirect_all_requests_to": {"host_name": "a.test"}});
    assert_eq!(verdict(both), "InvalidRequest");
    let to = |protocol: &str| json!({"redirect_all_requests_to": {"host_name": "a.test", "protocol": protocol}});
    assert_eq!(verdict(to("https")), "");
    assert_eq!(verdict(to("javascript")), "InvalidArgument");
    let good = json!({"condition": {"http_error_code_returned_equals": "404"},
        "redirect": {"http_redirect_code": "302", "replace_key_with": "x"}});
    assert_eq!(verdict(site(good)), "");
    for redirect in [
        json!({"http_redirect_code": "200"}),
        json!({"http_redirect_code": "300"}),
        json!({"http_redirect_code": "x"}),
        json!({"protocol": "ftp"}),
        json!({"replace_key_with": "a", "replace_key_prefix_with": "b"}),
    ] {
        let rule = json!({"redirect": redirect});
        assert_eq!(verdict(site(rule.clone())), "InvalidArgument", "{rule}");
    }
    let success = json!({"condition": {"http_error_code_returned_equals": "200"}, "redirect": {}});
    assert_eq!(verdict(site(success)), "InvalidArgument");
}

#[test]
fn words_of_small_configurations() {
    assert_eq!(code(json!({"payer": "Requester"}), payer), "");
    assert_eq!(code(json!({"payer": "Nobody"}), payer), "MalformedXML");
    assert_eq!(code(json!({"status": "Suspended"}), accelerate), "");
    assert_eq!(code(json!({"status": "on"}), accelerate), "MalformedXML");
    assert_eq!(code(json!({}), accelerate), "MalformedXML");
    let of = |names: &[&'static str]| {
        let rule = |name: &&'static str| OwnershipControlsRule {
            object_ownership: ObjectOwnership::from_static(name),
        };
        ownership(&OwnershipControls { rules: names.iter().map(rule).collect() }).ok()
    };
    assert_eq!(of(&["BucketOwnerEnforced"]), Some(Ownership::BucketOwnerEnforced));
    assert_eq!(of(&["bucketOwnerEnforced"]), None);
    assert_eq!(of(&["ObjectWriter", "ObjectWriter"]), None);
    assert_eq!(of(&[]), None);
}

#[test]
fn what_logs_cannot_be_is_refused() {
    let verdict = |asked: LoggingEnabled| {
        logging(&asked).err().map_or_else(String::new, |error| error.code().as_str().to_owned())
    };
    let format = |partitioned: bool| TargetObjectKeyFormat {
        partitioned_prefix: partitioned.then(PartitionedPrefix::default),
        simple_prefix: (!partitioned).then(SimplePrefix::default),
    };
    let plain = LoggingEnabled::default;
    assert_eq!(verdict(plain()), "");
    let simple = Some(format(false));
    assert_eq!(verdict(LoggingEnabled { target_object_key_format: simple, ..plain() }), "");
    let partitioned = Some(format(true));
    let partitioned = LoggingEnabled { target_object_key_format: partitioned, ..plain() };
    assert_eq!(verdict(partitioned), "NotImplemented");
    let grants = Some(vec![TargetGrant::default()]);
    let grants = LoggingEnabled { target_grants: grants, ..plain() };
    assert_eq!(verdict(grants), "NotImplemented");
}

#[test]
fn ids_are_those_of_the_query_and_there_is_an_end_to_them() {
    assert!(id("a", "a").is_ok());
    assert!(id("a", "b").is_err() && id("", "").is_err());
    assert!(id(&"a".repeat(65), &"a".repeat(65)).is_err());
    assert!(room(999, false).is_ok() && room(1000, true).is_ok());
    assert!(room(1000, false).is_err());
}
