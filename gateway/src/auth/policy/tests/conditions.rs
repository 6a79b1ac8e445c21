//! Every operator, alone and with quantifiers and `IfExists`.

use super::*;

/// Whether a condition is met by a request in which its key has these values.
fn met(effect: &str, operator: &str, key: &str, wanted: &str, values: &[&str]) -> bool {
    let json = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"{effect}","Action":"*",
            "Resource":"*","Condition":{{"{operator}":{{"{key}":{wanted}}}}}}}}}"#
    );
    let policy = Policy::parse_identity(&json).unwrap();
    let mut context = Context::new();
    context.set("s3:TheName", "ann");
    for value in values {
        context.add(key, *value);
    }
    let request = Request {
        action: "s3:GetObject",
        resource: "arn:aws:s3:::b/a",
        principal: Principal::Anonymous,
        context: &context,
    };
    policy.evaluate(&request) != Decision::NoMatch
}

/// The same for `Allow` and `Deny`, under a key and under its other spelling.
#[track_caller]
fn check(operator: &str, wanted: &str, values: &[&str], want: bool) {
    for (effect, key) in [("Allow", "aws:SomeKey"), ("Deny", "AWS:somekey")] {
        let found = met(effect, operator, key, wanted, values);
        assert_eq!(found, want, "{effect} {operator} {wanted}, the request has {values:?}");
    }
}

/// An operator and its opposite, and what an absent key means to both.
#[track_caller]
fn check_both(asks: &str, excludes: &str, wanted: &str, value: &str, want: bool) {
    check(asks, wanted, &[value], want);
    check(excludes, wanted, &[value], !want);
    for if_exists in ["", "IfExists"] {
        check(&format!("{asks}{if_exists}"), wanted, &[], !if_exists.is_empty());
        check(&format!("{excludes}{if_exists}"), wanted, &[], true);
        check(&format!("{asks}{if_exists}"), wanted, &[value], want);
        check(&format!("{excludes}{if_exists}"), wanted, &[value], !want);
    }
}

#[test]
fn z10_strings() {
    for (wanted, value, want) in [
        (r#""a""#, "a", true),
        (r#""a""#, "A", false),
        (r#"["b","a"]"#, "a", true),
        (r#"["b","a"]"#, "ab", false),
        (r#""a*""#, "ab", false),
        (r#""a*""#, "a*", true),
        (r#""""#, "", true),
        (r#"1"#, "1", true),
        (r#"true"#, "true", true),
        (r#""${s3:TheName}""#, "ann", true),
        (r#""${s3:TheName}x""#, "ann", false),
    ] {
        check_both("StringEquals", "StringNotEquals", wanted, value, want);
    }
    for (wanted, value, want) in [
        (r#""Größe""#, "GRÖSSE", false),
        (r#""Ärger""#, "äRGER", true),
        (r#""a*""#, "AB", false),
        (r#""X${s3:TheName}""#, "xANN", true),
    ] {
        check_both("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", wanted, value, want);
    }
    for (wanted, value, want) in [
        (r#""a*""#, "a", true),
        (r#""a*""#, "A", false),
        (r#""a?c""#, "abc", true),
        (r#"["x","*/${s3:TheName}/*"]"#, "home/ann/", true),
        (r#""a${*}""#, "ab", false),
        (r#""http://www.example.com/*""#, "http://example.com/", false),
    ] {
        check_both("StringLike", "StringNotLike", wanted, value, want);
    }
}

#[test]
fn z10_numbers() {
    check_both("NumericEquals", "NumericNotEquals", "10", "10.0", true);
    check_both("NumericEquals", "NumericNotEquals", r#"["5","10"]"#, "10", true);
    check_both("NumericEquals", "NumericNotEquals", "10", "11", false);
    check_both("NumericEquals", "NumericNotEquals", "10", "ten", false);
    for (operator, below, equal, above) in [
        ("NumericLessThan", true, false, false),
        ("NumericLessThanEquals", true, true, false),
        ("NumericGreaterThan", false, false, true),
        ("NumericGreaterThanEquals", false, true, true),
    ] {
        check(operator, "10", &["9"], below);
        check(operator, "10", &["10"], equal);
        check(operator, "10", &["10.5"], above);
        // As a text it would be otherwise.
        check(operator, "10", &["-100"], below);
        check(operator, "10", &["9x"], false);
        check(operator, "10", &[], false);
        check(&format!("{operator}IfExists"), "10", &[], true);
    }
}

#[test]
fn z10_dates() {
    let noon = r#""2026-01-02T12:00:00Z""#;
    check_both("DateEquals", "DateNotEquals", noon, "2026-01-02T13:00:00+01:00", true);
    check_both("DateEquals", "DateNotEquals", noon, "1767355200", true);
    check_both("DateEquals", "DateNotEquals", noon, "2026-01-02", false);
    check_both("DateEquals", "DateNotEquals", noon, "noon", false);
    for (operator, before, equal, after) in [
        ("DateLessThan", true, false, false),
        ("DateLessThanEquals", true, true, false),
        ("DateGreaterThan", false, false, true),
        ("DateGreaterThanEquals", false, true, true),
    ] {
        check(operator, noon, &["2026-01-02T11:59:59Z"], before);
        check(operator, noon, &["2026-01-02T12:00:00Z"], equal);
        check(operator, noon, &["2026-01-02T12:00:00.001Z"], after);
        check(operator, noon, &[], false);
        check(&format!("{operator}IfExists"), noon, &[], true);
    }
}

#[test]
fn z10_truth_and_bytes() {
    check("Bool", "true", &["true"], true);
    check("Bool", r#""false""#, &["true"], false);
    check("Bool", r#""True""#, &["true"], true);
    check("Bool", "true", &["yes"], false);
    check("Bool", "true", &[], false);
    check("Bool", "false", &[], false);
    check("BoolIfExists", "false", &[], true);
    check("BinaryEquals", r#""AQI=""#, &["AQI="], true);
    check("BinaryEquals", r#"["AQI=","AQM="]"#, &["AQM="], true);
    check("BinaryEquals", r#""AQI=""#, &["AQM="], false);
    check("BinaryEquals", r#""AQI=""#, &["%"], false);
    check("BinaryEqualsIfExists", r#""AQI=""#, &[], true);
}

#[test]
fn z10_addresses() {
    for (wanted, value, want) in [
        (r#""192.0.2.0/24""#, "192.0.2.9", true),
        (r#""192.0.2.0/24""#, "192.0.3.9", false),
        (r#""192.0.2.0/24""#, "::ffff:192.0.2.9", true),
        (r#"["192.0.2.1","2001:db8::/32"]"#, "2001:db8::9", true),
        (r#"["192.0.2.1","2001:db8::/32"]"#, "192.0.2.2", false),
        (r#""0.0.0.0/0""#, "::1", false),
        (r#""0.0.0.0/0""#, "localhost", false),
    ] {
        check_both("IpAddress", "NotIpAddress", wanted, value, want);
    }
}

#[test]
fn z10_arns() {
    for (wanted, value, want) in [
        (r#""arn:aws:s3:::b""#, "arn:aws:s3:::b", true),
        (r#""arn:aws:s3:::b*""#, "arn:aws:s3:::bb/x:y", true),
        (r#""arn:aws:s3:::b""#, "arn:aws:s3:::bb", false),
        // A wildcard ends where its part of the ARN ends.
        (r#""arn:aws:iam::*:root""#, "arn:aws:iam::ann:root", true),
        (r#""arn:aws:*:root""#, "arn:aws:iam::ann:root", false),
        (r#""arn:*:*:*:*:*""#, "arn:aws:iam::ann:root", true),
        (r#""*""#, "arn:aws:iam::ann:root", true),
        (r#""arn:aws:iam::${s3:TheName}:root""#, "arn:aws:iam::ann:root", true),
        (r#""arn:aws:iam::${s3:TheName}:root""#, "arn:aws:iam::bob:root", false),
        (r#""arn:aws:iam::?nn:root""#, "arn:aws:iam::ann:root", true),
        (r#""arn:*:*:*:*:*""#, "not an arn", false),
    ] {
        if wanted.contains("arn:aws:*:root") {
            // Four parts are not an ARN at all.
            let json = format!(
                r#"{{"Effect":"Allow","Principal":"*","Action":"*",
                "Resource":"arn:aws:s3:::b","Condition":{{"ArnLike":{{"a:b":{wanted}}}}}}}"#
            );
            assert!(bucket(&json).is_err());
            continue;
        }
        check_both("ArnEquals", "ArnNotEquals", wanted, value, want);
        check_both("ArnLike", "ArnNotLike", wanted, value, want);
    }
}

#[test]
fn z10_null_asks_whether_a_key_is_there() {
    check("Null", "true", &[], true);
    check("Null", "true", &["x"], false);
    check("Null", r#""false""#, &["x"], true);
    check("Null", r#""false""#, &[], false);
    check("Null", "false", &[""], true);
    check("Null", "[true,false]", &[], true);
    check("Null", "[true,false]", &["x"], true);
}

#[test]
fn z10_for_all_values_tests_every_value_by_itself() {
    let ab = r#"["a","b"]"#;
    for (values, equals, not_equals) in [
        (&["a"][..], true, false),
        (&["a", "b"], true, false),
        // Partly inside: neither all are, nor all are not.
        (&["a", "c"], false, false),
        (&["c", "d"], false, true),
        (&["a", "b", "c"], false, false),
        (&[""], false, true),
        (&[], true, true),
    ] {
        check("ForAllValues:StringEquals", ab, values, equals);
        check("ForAllValues:StringNotEquals", ab, values, not_equals);
        check("ForAllValues:StringLike", ab, values, equals);
        check("ForAllValues:StringNotLike", ab, values, not_equals);
        check("ForAllValues:StringEqualsIfExists", ab, values, equals);
        check("ForAllValues:StringNotEqualsIfExists", ab, values, not_equals);
    }
}

#[test]
fn z10_for_any_value_needs_one_value_that_passes_by_itself() {
    let ab = r#"["a","b"]"#;
    for (values, equals, not_equals) in [
        (&["a"][..], true, false),
        (&["a", "b"], true, false),
        // Partly inside: one is, and one is not.
        (&["a", "c"], true, true),
        (&["c", "d"], false, true),
        (&["a", "b", "c"], true, true),
        (&[""], false, true),
    ] {
        check("ForAnyValue:StringEquals", ab, values, equals);
        check("ForAnyValue:StringNotEquals", ab, values, not_equals);
        check("ForAnyValue:StringLike", ab, values, equals);
        check("ForAnyValue:StringNotLike", ab, values, not_equals);
        check("ForAnyValue:StringEqualsIfExists", ab, values, equals);
    }
    // Without a value there is none that passes.
    check("ForAnyValue:StringEquals", ab, &[], false);
    check("ForAnyValue:StringNotEquals", ab, &[], false);
    check("ForAnyValue:StringEqualsIfExists", ab, &[], true);
    check("ForAnyValue:StringNotEqualsIfExists", ab, &[], true);
}

#[test]
fn z10_quantifiers_go_with_the_other_kinds_too() {
    check("ForAllValues:NumericLessThan", "10", &["1", "9"], true);
    check("ForAllValues:NumericLessThan", "10", &["1", "11"], false);
    check("ForAnyValue:NumericLessThan", "10", &["1", "11"], true);
    check("ForAnyValue:NumericNotEquals", "1", &["1"], false);
    check("ForAllValues:IpAddress", r#""10.0.0.0/8""#, &["10.1.1.1", "11.1.1.1"], false);
    check("ForAnyValue:NotIpAddress", r#""10.0.0.0/8""#, &["10.1.1.1", "11.1.1.1"], true);
    check("ForAllValues:NotIpAddress", r#""10.0.0.0/8""#, &["10.1.1.1", "11.1.1.1"], false);
    check("ForAllValues:ArnNotLike", r#""arn:aws:s3:::b*""#, &["arn:aws:s3:::b"], false);
    check("ForAnyValue:Bool", "true", &["false", "true"], true);
    check("ForAllValues:DateLessThan", r#""2026-01-01""#, &["2025-01-01", "2027-01-01"], false);
}

#[test]
fn z10_several_values_without_a_quantifier_exclude_if_one_is_excluded() {
    let ab = r#"["a","b"]"#;
    check("StringEquals", ab, &["a", "c"], true);
    check("StringNotEquals", ab, &["a", "c"], false);
    check("StringNotEquals", ab, &["c", "d"], true);
}

#[test]
fn z10_all_conditions_must_be_met() {
    let statement = r#"{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket",
        "Resource":"arn:aws:s3:::b","Condition":{
            "StringLike":{"s3:prefix":["public/*",""],"s3:delimiter":"/"},
            "Bool":{"aws:SecureTransport":"true"}}}"#;
    let policy = bucket(statement).unwrap();
    let says = |prefix: &str, delimiter: &str, secure: &str| {
        let mut context = Context::new();
        context.set("s3:prefix", prefix);
        context.set("s3:delimiter", delimiter);
        context.set("aws:SecureTransport", secure);
        policy.evaluate(&Request {
            action: "s3:ListBucket",
            resource: "arn:aws:s3:::b",
            principal: Principal::Anonymous,
            context: &context,
        })
    };
    assert_eq!(says("public/x", "/", "true"), Decision::Allow);
    assert_eq!(says("", "/", "true"), Decision::Allow);
    assert_eq!(says("private/", "/", "true"), Decision::NoMatch);
    assert_eq!(says("public/x", "", "true"), Decision::NoMatch);
    assert_eq!(says("public/x", "/", "false"), Decision::NoMatch);
}

#[test]
fn z10_a_variable_without_a_value_meets_no_condition_that_allows() {
    let text = r#""${aws:nothing}""#;
    for (operator, allow, deny) in [
        ("StringEquals", false, false),
        ("StringNotEquals", false, true),
        ("StringNotLike", false, true),
        ("ForAllValues:StringEquals", false, false),
        ("ForAllValues:StringNotEquals", false, true),
        ("ForAnyValue:StringNotEquals", false, true),
    ] {
        assert_eq!(met("Allow", operator, "s3:prefix", text, &["x"]), allow, "{operator}");
        assert_eq!(met("Deny", operator, "s3:prefix", text, &["x"]), deny, "{operator}");
    }
    let arn = r#""arn:aws:iam::${aws:nothing}:root""#;
    let value = ["arn:aws:iam::ann:root"];
    assert!(!met("Allow", "ArnNotLike", "aws:PrincipalArn", arn, &value));
    assert!(met("Deny", "ArnNotLike", "aws:PrincipalArn", arn, &value));
}

#[test]
fn z09_a_value_is_never_read_as_a_pattern_or_a_variable() {
    check("StringLike", r#""a""#, &["*"], false);
    check("StringEquals", r#""ann""#, &["${s3:TheName}"], false);
    let name = "s3:TheName";
    // Set by the server to a star, it stands for a star.
    let json = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*",
        "Resource":"arn:aws:s3:::b/${s3:TheName}/*"}}"#;
    let policy = Policy::parse_identity(json).unwrap();
    let mut context = Context::new();
    context.set(name, "*");
    let says = |resource| {
        let principal = Principal::Anonymous;
        policy.evaluate(&Request { action: "s3:GetObject", resource, principal, context: &context })
    };
    assert_eq!(says("arn:aws:s3:::b/ann/x"), Decision::NoMatch);
    assert_eq!(says("arn:aws:s3:::b/*/x"), Decision::Allow);
}
