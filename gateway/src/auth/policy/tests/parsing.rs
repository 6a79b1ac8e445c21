//! What is a policy, and what is not.

use proptest::prelude::*;

use super::*;

const STATEMENT: &str = r#"{"Sid":"Any words","Effect":"Allow","Principal":{"AWS":"*"},
    "Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::b/*",
    "Condition":{"StringLike":{"aws:Referer":["http://a/*",1,true]}}}"#;

#[test]
fn a_policy_with_everything_in_it_is_taken() {
    bucket(STATEMENT).unwrap();
    let document = format!(r#"{{"Version":"2008-10-17","Id":"x","Statement":{STATEMENT}}}"#);
    Policy::parse_bucket(&document, "b").unwrap();
}

/// A statement with a part replaced is refused, with these words.
#[track_caller]
fn refused(part: &str, other: &str, words: &str) {
    assert!(STATEMENT.contains(part), "{part}");
    let error = bucket(&STATEMENT.replace(part, other)).unwrap_err();
    assert!(error.to_string().contains(words), "{other}: {error}");
}

#[test]
fn a_statement_that_is_not_understood_is_refused() {
    refused(r#""Effect":"Allow","#, "", "Effect");
    refused(r#""Allow""#, r#""allow""#, "Effect");
    refused(r#""Allow""#, "null", "Effect");
    refused(r#""Sid":"Any words""#, r#""Sid":1"#, "Sid");
    refused(r#""Sid""#, r#""Said""#, "\"Said\"");
    refused(r#""Sid":"Any words""#, r#""Effect":"Deny""#, "stands twice");
    refused(r#"["s3:GetObject","s3:PutObject"]"#, "[]", "not empty");
    refused(r#""s3:PutObject""#, "1", "strings");
    refused(r#""s3:PutObject""#, r#""""#, "invalid action");
    refused(r#""s3:PutObject""#, r#""s3:""#, "invalid action");
    refused(r#""s3:PutObject""#, r#""sts:AssumeRole""#, "invalid action");
    refused(r#""s3:PutObject""#, r#""s3:${aws:username}""#, "invalid action");
    refused(r#""Action""#, r#""action""#, "\"action\"");
    refused(r#""Sid":"Any words""#, r#""NotAction":"s3:*""#, "Action and NotAction");
    refused(r#""Sid":"Any words""#, r#""NotResource":"*""#, "Resource and NotResource");
}

#[test]
fn a_bucket_policy_says_whom_it_is_about() {
    refused(r#""Principal":{"AWS":"*"},"#, "", "must have Principal");
    refused(r#""Principal""#, r#""NotPrincipal""#, "NotPrincipal");
    for principal in [
        "{}",
        "[]",
        "\"ann\"",
        r#"{"AWS":[]}"#,
        r#"{"AWS":""}"#,
        r#"{"AWS":"an*"}"#,
        r#"{"AWS":1}"#,
        r#"{"aws":"*"}"#,
        r#"{"CanonicalUser":"*"}"#,
        r#"{"Service":"*"}"#,
        r#"{"AWS":"arn:aws:iam::*:root"}"#,
        r#"{"AWS":"arn:aws:iam::ann:user/*"}"#,
        r#"{"AWS":"arn:aws:iam::ann:user/"}"#,
        r#"{"AWS":"arn:aws:iam:::root"}"#,
        r#"{"AWS":"arn:aws:s3:::b"}"#,
        r#"{"AWS":"arn:aws:iam::ann"}"#,
    ] {
        refused(r#"{"AWS":"*"}"#, principal, "rincipal");
    }
    let for_key = format!(r#"{{"Version":"2012-10-17","Statement":{STATEMENT}}}"#);
    let error = Policy::parse_identity(&for_key).unwrap_err();
    assert!(error.to_string().contains("no Principal"), "{error}");
    let none = for_key.replace(r#""Principal":{"AWS":"*"},"#, "");
    Policy::parse_identity(&none).unwrap();
}

#[track_caller]
fn check_resource(resource: &str, of_bucket: bool, of_key: bool) {
    let statement =
        format!(r#"{{"Effect":"Allow","Principal":"*","Action":"*","Resource":"{resource}"}}"#);
    assert_eq!(bucket(&statement).is_ok(), of_bucket, "{resource} of a bucket");
    let json = format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
    let json = json.replace(r#""Principal":"*","#, "");
    assert_eq!(Policy::parse_identity(&json).is_ok(), of_key, "{resource} of a key");
}

#[test]
fn a_bucket_policy_is_about_its_own_bucket() {
    for own in [
        "arn:aws:s3:::b",
        "arn:aws:s3:::b/*",
        "arn:aws:s3:::b/a/b:c",
        "arn:aws:s3:::*",
        "arn:aws:s3:::*/*",
        "arn:aws:s3:::?/x",
        "arn:aws:s3:::b*",
        "arn:aws:s3:::${aws:PrincipalTag/x}/*",
    ] {
        check_resource(own, true, true);
    }
    for other in [
        "*",
        "arn:aws:s3:::c",
        "arn:aws:s3:::c/b",
        "arn:aws:s3:::bb/*",
        "arn:aws:s3:::B",
        "arn:aws:s3:::",
        "arn:aws:s3::ann:b",
        "arn:aws:iam:::b",
    ] {
        check_resource(other, false, true);
    }
    for wrong in ["", "b", "b/*", "s3:::b", "arn:aws:s3:::${", "arn:aws:s3:::b/${x}"] {
        check_resource(wrong, false, false);
    }
}

#[test]
fn a_condition_that_is_not_understood_is_refused() {
    let condition = r#"{"StringLike":{"aws:Referer":["http://a/*",1,true]}}"#;
    for (other, words) in [
        ("[]", "object"),
        (r#"{"StringLike":[]}"#, "object"),
        (r#"{"StringLike":{}}"#, "no conditions"),
        (r#"{"StringLike":{"aws:Referer":[]}}"#, "values of aws:Referer"),
        (r#"{"StringLike":{"aws:Referer":null}}"#, "values of aws:Referer"),
        (r#"{"StringLike":{"aws:Referer":{}}}"#, "values of aws:Referer"),
        (r#"{"StringLike":{"Referer":"x"}}"#, "condition key"),
        (r#"{"StringLike":{"aws:":"x"}}"#, "condition key"),
        (r#"{"StringLike":{"aws:Referer":"${x"}}"#, "variable"),
        (r#"{"stringlike":{"aws:Referer":"x"}}"#, "operator \"stringlike\""),
        (r#"{"StringLikes":{"aws:Referer":"x"}}"#, "operator"),
        (r#"{"ForSomeValues:StringLike":{"aws:Referer":"x"}}"#, "operator"),
        (r#"{"ForAllValues:ForAnyValue:StringLike":{"aws:Referer":"x"}}"#, "operator"),
        (r#"{"StringLikeIfExistsIfExists":{"aws:Referer":"x"}}"#, "operator"),
        (r#"{"NullIfExists":{"aws:Referer":"true"}}"#, "operator"),
        (r#"{"ForAnyValue:Null":{"aws:Referer":"true"}}"#, "operator"),
        (r#"{"BoolNotEquals":{"aws:Referer":"true"}}"#, "operator"),
        (r#"{"Bool":{"aws:Referer":"yes"}}"#, "does not suit"),
        (r#"{"Null":{"aws:Referer":"x"}}"#, "does not suit"),
        (r#"{"NumericEquals":{"aws:Referer":"x"}}"#, "does not suit"),
        (r#"{"DateEquals":{"aws:Referer":"today"}}"#, "does not suit"),
        (r#"{"BinaryEquals":{"aws:Referer":"?"}}"#, "does not suit"),
        (r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}}"#, "does not suit"),
        (r#"{"IpAddress":{"aws:SourceIp":"10.0.0.*"}}"#, "does not suit"),
        (r#"{"ArnLike":{"aws:SourceArn":"arn:aws"}}"#, "not an ARN"),
        (
            r#"{"StringLike":{"aws:Referer":"x"},"StringLike":{"aws:UserAgent":"x"}}"#,
            "stands twice",
        ),
    ] {
        refused(condition, other, words);
    }
}

#[test]
fn a_document_that_is_not_a_policy_is_refused() {
    #[track_caller]
    fn check(json: &str, words: &str) {
        for parsed in [Policy::parse_bucket(json, "b"), Policy::parse_identity(json)] {
            let error = parsed.unwrap_err().to_string();
            assert!(error.contains(words), "{json}: {error}");
        }
    }
    check("", "not valid JSON");
    check("{", "not valid JSON");
    check("[]", "object");
    check("{}", "Statement");
    check(r#"{"Statement":[]}"#, "Statement");
    check(r#"{"Statement":[1]}"#, "object");
    check(r#"{"Statement":"x"}"#, "Statement");
    check(r#"{"Version":"2012-10-18","Statement":[]}"#, "Version");
    check(r#"{"Version":20121017,"Statement":[]}"#, "Version");
    check(r#"{"Id":1,"Statement":[]}"#, "Id");
    check(r#"{"Statement":[],"Statements":[]}"#, "Statements");
    check(&"[".repeat(5000), "not valid JSON");
}

#[test]
fn a_policy_has_at_most_twenty_kibibytes() {
    let empty = format!(r#"{{"Id":"","Statement":{STATEMENT}}}"#);
    let of_len =
        |len: usize| empty.replace("\"\"", &format!("\"{}\"", "x".repeat(len - empty.len())));
    Policy::parse_bucket(&of_len(POLICY_MAX), "b").unwrap();
    let error = Policy::parse_bucket(&of_len(POLICY_MAX + 1), "b").unwrap_err();
    assert!(error.to_string().contains("20480"), "{error}");
}

/// JSON of the words that policies are made of, in any arrangement.
fn near_policy() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "Version",
        "2012-10-17",
        "Statement",
        "Effect",
        "Allow",
        "Deny",
        "Principal",
        "NotPrincipal",
        "AWS",
        "*",
        "Action",
        "s3:*",
        "Resource",
        "NotResource",
        "arn:aws:s3:::b/${aws:username, 'é'}?*",
        "arn:aws:iam:::user/é",
        "Condition",
        "ForAllValues:StringLikeIfExists",
        "IpAddress",
        "ArnLike",
        "DateLessThan",
        "aws:SourceIp",
        "::ffff:0:0/96",
        "${",
        "",
        "9999-99-99",
    ]);
    let leaf = prop_oneof![
        word.clone().prop_map(|word| format!("{word:?}")),
        any::<i64>().prop_map(|number| number.to_string()),
        Just("true".to_owned()),
        Just("null".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec((word.clone(), inner), 0..5).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("{name:?}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Reads a text as both kinds of policy and asks what it says, if it is one.
fn survive(text: &str) {
    let mut context = Context::new();
    context.set("aws:username", "é");
    context.set("aws:SourceIp", "é");
    for policy in [Policy::parse_bucket(text, "b"), Policy::parse_identity(text)] {
        match policy {
            Ok(policy) => {
                policy.is_public();
                policy.evaluate(&Request {
                    action: "s3:GetObject",
                    resource: "arn:aws:s3:::b/é",
                    principal: Principal::Anonymous,
                    context: &context,
                });
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_a_policy_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survive(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_json_is_a_policy_or_is_refused(json in near_policy()) {
        survive(&json);
    }

    #[test]
    fn any_text_can_stand_where_a_text_stands(
        place in 0..5_usize,
        text in r#"[a-z*?$\{\}:/,'éß.0-9 -]{0,40}"#,
    ) {
        let places = ["{\"AWS\":\"*\"}", "\"s3:PutObject\"", "\"arn:aws:s3:::b/*\"",
            "\"http://a/*\"", "\"StringLike\""];
        let statement = STATEMENT.replace(places[place], &serde_json::to_string(&text).unwrap());
        survive(&format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#));
        // A resource of the right form reaches the cutting of its parts.
        let resource = serde_json::to_string(&format!("arn:aws:s3:::{text}")).unwrap();
        let statement = STATEMENT.replace(places[2], &resource);
        survive(&format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#));
    }
}
