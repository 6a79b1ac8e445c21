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
    let verdict = |rules: Value| code(json!({"CORSRules": rules}), cors);
    let rule = |method: &str, origin: &str| json!({"AllowedMethods": [method], "AllowedOrigins": [origin]});
    assert_eq!(verdict(json!([rule("GET", "https://*.test")])), "");
    assert_eq!(verdict(json!(vec![rule("PUT", "*"); 100])), "");
    assert_eq!(verdict(json!(vec![rule("PUT", "*"); 101])), "MalformedXML");
    assert_eq!(verdict(json!([])), "MalformedXML");
    assert_eq!(verdict(json!([rule("get", "*")])), "InvalidRequest");
    assert_eq!(verdict(json!([rule("OPTIONS", "*")])), "InvalidRequest");
    assert_eq!(verdict(json!([rule("GET", "http://*.*")])), "InvalidRequest");
    assert_eq!(verdict(json!([rule("GET", "a\r\nb")])), "InvalidArgument");
    let headers = json!([{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"],
        "AllowedHeaders": ["x-*-*"]}]);
    assert_eq!(verdict(headers), "InvalidRequest");
    let none = json!([{"AllowedMethods": [], "AllowedOrigins": ["*"]}]);
    assert_eq!(verdict(none), "MalformedXML");
}

#[test]
fn default_encryption() {
    let by = |default: Value| json!({"ApplyServerSideEncryptionByDefault": default});
    let verdict = |rules: Value| code(json!({"Rules": rules}), encryption);
    let aes = by(json!({"SSEAlgorithm": "AES256"}));
    assert_eq!(verdict(json!([aes])), "");
    assert_eq!(verdict(json!([by(json!({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k"}))])), "");
    let both = by(json!({"SSEAlgorithm": "AES256", "KMSMasterKeyID": "k"}));
    assert_eq!(verdict(json!([both])), "InvalidArgument");
    assert_eq!(verdict(json!([by(json!({"SSEAlgorithm": "rot13"}))])), "MalformedXML");
    assert_eq!(verdict(json!([aes, aes])), "MalformedXML");
    assert_eq!(verdict(json!([{}])), "MalformedXML");
}

#[test]
fn websites() {
    let verdict = |document: Value| code(document, website);
    let site = |rule: Value| json!({"IndexDocument": {"Suffix": "i"}, "RoutingRules": [rule]});
    assert_eq!(verdict(json!({"IndexDocument": {"Suffix": "index.html"}})), "");
    assert_eq!(verdict(json!({"RedirectAllRequestsTo": {"HostName": "a.test"}})), "");
    assert_eq!(verdict(json!({})), "InvalidArgument");
    assert_eq!(verdict(json!({"IndexDocument": {"Suffix": "a/b"}})), "InvalidArgument");
    assert_eq!(verdict(json!({"IndexDocument": {"Suffix": ""}})), "InvalidArgument");
    let both = json!({"IndexDocument": {"Suffix": "i"},
        "RedirectAllRequestsTo": {"HostName": "a.test"}});
    assert_eq!(verdict(both), "InvalidRequest");
    let to = |protocol: &str| json!({"RedirectAllRequestsTo": {"HostName": "a.test", "Protocol": protocol}});
    assert_eq!(verdict(to("https")), "");
    assert_eq!(verdict(to("javascript")), "InvalidArgument");
    let good = json!({"Condition": {"HttpErrorCodeReturnedEquals": "404"},
        "Redirect": {"HttpRedirectCode": "302", "ReplaceKeyWith": "x"}});
    assert_eq!(verdict(site(good)), "");
    for redirect in [
        json!({"HttpRedirectCode": "200"}),
        json!({"HttpRedirectCode": "300"}),
        json!({"HttpRedirectCode": "x"}),
        json!({"Protocol": "ftp"}),
        json!({"ReplaceKeyWith": "a", "ReplaceKeyPrefixWith": "b"}),
    ] {
        let rule = json!({"Redirect": redirect});
        assert_eq!(verdict(site(rule.clone())), "InvalidArgument", "{rule}");
    }
    let success = json!({"Condition": {"HttpErrorCodeReturnedEquals": "200"}, "Redirect": {}});
    assert_eq!(verdict(site(success)), "InvalidArgument");
}

#[test]
fn words_of_small_configurations() {
    assert_eq!(code(json!({"Payer": "Requester"}), payer), "");
    assert_eq!(code(json!({"Payer": "Nobody"}), payer), "MalformedXML");
    assert_eq!(code(json!({"Status": "Suspended"}), accelerate), "");
    assert_eq!(code(json!({"Status": "on"}), accelerate), "MalformedXML");
    assert_eq!(code(json!({}), accelerate), "MalformedXML");
    let of = |rules: Value| {
        let document: OwnershipControls = serde_json::from_value(json!({"Rules": rules})).unwrap();
        ownership(&document).ok()
    };
    let rule = |name: &str| json!({"ObjectOwnership": name});
    assert_eq!(of(json!([rule("BucketOwnerEnforced")])), Some(Ownership::BucketOwnerEnforced));
    assert_eq!(of(json!([rule("bucketOwnerEnforced")])), None);
    assert_eq!(of(json!([rule("ObjectWriter"), rule("ObjectWriter")])), None);
    assert_eq!(of(json!([])), None);
}

#[test]
fn what_logs_cannot_be_is_refused() {
    let verdict = |more: Value| {
        let mut document = json!({"TargetBucket": "logs", "TargetPrefix": "a/"});
        for (name, value) in more.as_object().unwrap() {
            document[name] = value.clone();
        }
        code(document, logging)
    };
    assert_eq!(verdict(json!({})), "");
    assert_eq!(verdict(json!({"TargetObjectKeyFormat": {"SimplePrefix": {}}})), "");
    let partitioned = json!({"TargetObjectKeyFormat":
        {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}});
    assert_eq!(verdict(partitioned), "NotImplemented");
    assert_eq!(verdict(json!({"TargetGrants": [{"Permission": "READ"}]})), "NotImplemented");
}

#[test]
fn ids_are_those_of_the_query_and_there_is_an_end_to_them() {
    assert!(id("a", "a").is_ok());
    assert!(id("a", "b").is_err() && id("", "").is_err());
    assert!(id(&"a".repeat(65), &"a".repeat(65)).is_err());
    assert!(room(999, false).is_ok() && room(1000, true).is_ok());
    assert!(room(1000, false).is_err());
}
