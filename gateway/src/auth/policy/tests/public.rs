//! Which policies are public.

use super::*;

#[track_caller]
fn check(effect: &str, principal: &str, condition: &str, want: bool) {
    let statement = format!(
        r#"{{"Effect":"{effect}","Principal":{principal},"Action":"s3:GetObject",
            "Resource":"arn:aws:s3:::b/*","Condition":{{{condition}}}}}"#
    );
    let policy = bucket(&statement).unwrap();
    assert_eq!(policy.is_public(), want, "{effect} {principal} {condition}");
}

#[test]
fn z11_a_policy_is_public_if_it_lets_in_everybody() {
    check("Allow", r#""*""#, "", true);
    check("Allow", r#"{"AWS":"*"}"#, "", true);
    check("Allow", r#"{"AWS":["arn:aws:iam::ann:root","*"]}"#, "", true);
    check("Allow", r#"{"AWS":"arn:aws:iam::ann:root"}"#, "", false);
    check("Allow", r#"{"CanonicalUser":"x"}"#, "", false);
    check("Allow", r#"{"Service":"logging.s3.amazonaws.com"}"#, "", false);
    check("Deny", r#""*""#, "", false);
}

#[test]
fn z11_a_condition_makes_it_private_only_if_it_pins_somebody_down() {
    for condition in [
        r#""StringEquals":{"aws:SourceAccount":"ann"}"#,
        r#""StringEquals":{"aws:SourceAccount":["ann","bob"]}"#,
        // Without wildcards in its language a star is a star.
        r#""StringEquals":{"aws:SourceAccount":"*"}"#,
        r#""StringLike":{"aws:PrincipalArn":"arn:aws:iam::ann:root"}"#,
        r#""ArnLike":{"aws:SourceArn":"arn:aws:s3:::logs"}"#,
        r#""ForAnyValue:StringEquals":{"aws:PrincipalOrgPaths":"o/r"}"#,
        r#""IpAddress":{"AWS:sourceip":"10.0.0.0/32"}"#,
        r#""IpAddress":{"aws:SourceIp":["10.0.0.0/8","2001:db8::/32"]}"#,
        r#""StringEquals":{"aws:SourceAccount":"ann"},"StringLike":{"s3:prefix":"*"}"#,
    ] {
        check("Allow", r#""*""#, condition, false);
    }
    for condition in [
        r#""StringEquals":{"s3:x-amz-acl":"private"}"#,
        r#""StringEquals":{"aws:UserAgent":"secret"}"#,
        r#""StringLike":{"aws:Referer":"http://example.com/*"}"#,
        r#""StringLike":{"aws:SourceAccount":"a*"}"#,
        r#""StringLike":{"aws:SourceAccount":["ann","b?b"]}"#,
        r#""StringEquals":{"aws:SourceAccount":"${aws:username}"}"#,
        r#""StringNotEquals":{"aws:SourceAccount":"ann"}"#,
        r#""StringEqualsIfExists":{"aws:SourceAccount":"ann"}"#,
        r#""ForAllValues:StringEquals":{"aws:PrincipalOrgPaths":"o/r"}"#,
        r#""ArnLike":{"aws:SourceArn":"arn:aws:s3:::*"}"#,
        r#""Null":{"aws:SourceAccount":"false"}"#,
        r#""Bool":{"aws:SecureTransport":"true"}"#,
        r#""IpAddress":{"aws:SourceIp":"0.0.0.0/0"}"#,
        r#""IpAddress":{"aws:SourceIp":["10.0.0.0/8","16.0.0.0/7"]}"#,
        r#""IpAddress":{"aws:SourceIp":"2000::/3"}"#,
        r#""IpAddress":{"s3:SomeIp":"10.0.0.1"}"#,
        r#""NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}"#,
        r#""IpAddressIfExists":{"aws:SourceIp":"10.0.0.0/8"}"#,
    ] {
        check("Allow", r#""*""#, condition, true);
    }
}
