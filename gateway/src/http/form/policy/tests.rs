//! What policies allow, and what is no policy.

use bytes::Bytes;
use proptest::prelude::*;
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);

fn parse(json: &str) -> Result<Policy, PolicyError> {
    Policy::parse(&BASE64_STANDARD.encode(json))
}

fn policy(conditions: &str) -> Policy {
    let conditions = format!("[{{\"bucket\": \"photos\"}}, {conditions}]");
    parse(&format!(r#"{{"expiration": "2026-01-02T03:04:06Z", "conditions": {conditions}}}"#))
        .unwrap()
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in pairs {
        fields.add(name, &Bytes::from(value.to_string())).unwrap();
    }
    fields
}

/// Whether a form with these fields keeps to a policy with these conditions.
#[track_caller]
fn check(conditions: &str, pairs: &[(&str, &str)], want: Result<(), &str>) {
    let got = policy(conditions).check(&fields(pairs), "photos", NOW);
    let want = want.map_err(|what| PolicyError::Broken(what.to_owned()));
    assert_eq!(got.map(|_| ()), want, "{conditions} {pairs:?}");
}

#[test]
fn conditions_hold_or_fail() {
    let key = ("key", "user/a");
    check(r#"{"key": "user/a"}"#, &[key], Ok(()));
    check(r#"["EQ", "$KEY", "user/a"]"#, &[key], Ok(()));
    check(r#"["Starts-With", "$Key", "user/"]"#, &[key], Ok(()));
    check(r#"["starts-with", "$key", ""]"#, &[key], Ok(()));
    let failed = |condition: &str| format!("Policy Condition failed: {condition}");
    let eq = failed(r#"["eq", "$key", "user/A"]"#);
    check(r#"{"key": "user/A"}"#, &[key], Err(&eq));
    let starts = failed(r#"["starts-with", "$key", "b\"c"]"#);
    check(r#"["starts-with", "$key", "b\"c"]"#, &[key], Err(&starts));
    // A field that is not there has no value, and may have any.
    let any = r#"["starts-with", "$key", ""]"#;
    let absent = failed(r#"["starts-with", "$acl", "p"]"#);
    check(&format!(r#"{any}, ["starts-with", "$acl", "p"]"#), &[key], Err(&absent));
    let empty = failed(r#"["eq", "$acl", ""]"#);
    check(&format!(r#"{any}, {{"acl": ""}}"#), &[key], Err(&empty));
    check(&format!(r#"{any}, ["starts-with", "$acl", ""]"#), &[key], Ok(()));
    let types = r#"{"key": "user/a"}, ["starts-with", "$Content-Type", "image/"]"#;
    check(types, &[key, ("content-type", "image/png, image/jpeg")], Ok(()));
    let list = failed(r#"["starts-with", "$content-type", "image/"]"#);
    check(types, &[key, ("content-type", "image/png,text/html")], Err(&list));
}

#[test]
fn z07_every_field_needs_a_condition() {
    let key = ("key", "a");
    let any_key = r#"["starts-with", "$key", ""]"#;
    for free in [
        "policy",
        "signature",
        "AWSAccessKeyId",
        "x-amz-signature",
        "x-ignore-x",
        "x-amz-checksum-sha256",
    ] {
        check(any_key, &[key, (free, "v")], Ok(()));
    }
    for extra in [
        "acl",
        "content-type",
        "x-amz-meta-a",
        "x-amz-credential",
        "x-amz-date",
        "tagging",
        "x-amz-security-token",
        "success_action_redirect",
        "x-amz-tagging",
        "ignore",
        "content-md5",
    ] {
        let message = format!("Extra input fields: {extra}");
        check(any_key, &[key, (extra, "v")], Err(&message));
    }
    check(r#"{"acl": "private"}"#, &[key, ("acl", "private")], Err("Extra input fields: key"));
}

#[test]
fn z07_a_policy_is_for_the_bucket_that_it_names() {
    let of = |conditions: &str, bucket: &str, pairs: &[(&str, &str)]| {
        let json =
            format!(r#"{{"expiration":"2027-01-01T00:00:00Z","conditions":[{conditions}]}}"#);
        parse(&json).unwrap().check(&fields(pairs), bucket, NOW)
    };
    assert!(of(r#"["eq","$bucket","photos"]"#, "photos", &[]).is_ok());
    assert!(of(r#"{"bUcKeT":"photos"}"#, "photos", &[("Bucket", "photos")]).is_ok());
    let refused =
        |result: Result<Sizes, PolicyError>| matches!(result, Err(PolicyError::Broken(_)));
    assert!(refused(of(r#"{"bucket":"photos"}"#, "other", &[])));
    assert!(refused(of(r#"{"bucket":"photos"}"#, "other", &[("bucket", "photos")])));
    assert!(refused(of(r#"{"bucket":"photos"}"#, "photos", &[("bucket", "other")])));
    assert!(refused(of("", "photos", &[])));
}

#[test]
fn a_policy_expires() {
    let at = |time: &str| {
        let json = format!(r#"{{"expiration":"{time}","conditions":[{{"bucket":"b"}}]}}"#);
        parse(&json).and_then(|policy| policy.check(&Fields::default(), "b", NOW))
    };
    assert!(at("2026-01-02T03:04:06Z").is_ok());
    assert!(at("2026-01-02T03:04:05.001Z").is_ok());
    let expired = Err(PolicyError::Broken("Policy expired.".into()));
    assert_eq!(at("2026-01-02T03:04:05Z"), expired);
    assert_eq!(at("1970-01-01T00:00:00.000Z"), expired);
    for bad in
        ["", "2027", "2027-01-01", "2027-01-01 00:00:00+00:00", "2027-01-01T00:00:00", "never"]
    {
        assert!(matches!(at(bad), Err(PolicyError::Malformed(_))), "{bad}");
    }
}

#[test]
fn the_size_of_the_file() {
    let of = |conditions: &str| {
        let conditions = format!(r#"["starts-with", "$key", ""], {conditions}"#);
        policy(&conditions).check(&fields(&[("key", "k")]), "photos", NOW).unwrap()
    };
    assert_eq!(of(r#"["content-length-range", 1, 10]"#), Sizes { min: 1, max: 10 });
    assert_eq!(of(r#"["Content-Length-Range", "0", "7"]"#), Sizes { min: 0, max: 7 });
    let two = r#"["content-length-range", 1, 10], ["content-length-range", 5, 20]"#;
    assert_eq!(of(two), Sizes { min: 5, max: 10 });
    let huge = r#"["content-length-range", 0, 18446744073709551615]"#;
    assert_eq!(of(huge), Sizes::default());
}

#[test]
fn documents_that_are_no_policy() {
    let with = |conditions: &str| {
        parse(&format!(r#"{{"expiration":"2027-01-01T00:00:00Z","conditions":{conditions}}}"#))
    };
    for bad in [
        "{}",
        "null",
        "[{}]",
        "[[]]",
        "[1]",
        r#"[{"a":"1","b":"2"}]"#,
        r#"[{"a":1}]"#,
        r#"[["eq","$a"]]"#,
        r#"[["eq","a","b"]]"#,
        r#"[["like","$a","b"]]"#,
        r#"[["eq","$a",1]]"#,
        r#"[["content-length-range",0]]"#,
        r#"[["content-length-range",-1,0]]"#,
        r#"[["content-length-range",0,1.5]]"#,
        r#"[["content-length-range","+1","2"]]"#,
        r#"[["content-length-range","","2"]]"#,
    ] {
        assert!(matches!(with(bad), Err(PolicyError::Malformed(_))), "{bad}");
    }
    for bad in [
        "",
        "x",
        "[]",
        "{}",
        r#"{"conditions":[]}"#,
        r#"{"expiration":"2027-01-01T00:00:00Z"}"#,
        r#"{"EXPIRATION":"2027-01-01T00:00:00Z","conditions":[]}"#,
        r#"{"expiration":"2027-01-01T00:00:00Z","CONDITIONS":[]}"#,
        r#"{"expiration":"2027-01-01T00:00:00Z","conditions":[],"more":1}"#,
    ] {
        assert!(matches!(parse(bad), Err(PolicyError::Malformed(_))), "{bad}");
    }
    assert!(matches!(Policy::parse("no base64!"), Err(PolicyError::Malformed(_))));
    let error: S3Error = Policy::parse("").unwrap_err().into();
    assert_eq!(error.code().as_str(), "InvalidPolicyDocument");
}

proptest! {
    #[test]
    fn any_text_is_a_policy_or_refused(text in "\\PC{0,200}", json in "[\\[\\]{}\":,a$0-9 -]{0,100}") {
        let _ = Policy::parse(&text);
        let _ = parse(&text);
        let _ = parse(&json);
        let _ = parse(&format!(r#"{{"expiration":"2027-01-01T00:00:00Z","conditions":[{json}]}}"#));
    }
}
