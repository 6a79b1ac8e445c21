//! What policies mean, in tables.

mod conditions;
mod parsing;
mod public;

use super::*;

/// A policy of the bucket `b` with these statements.
fn bucket(statements: &str) -> Result<Policy, PolicyError> {
    let json = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    Policy::parse_bucket(&json, "b")
}

const ANN_ID: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
const ANN: Principal<'_> = Principal::Account { canonical_id: ANN_ID, name: "ann" };
const LOGS: Principal<'_> = Principal::Service("logging.s3.amazonaws.com");

#[track_caller]
fn check_principal(element: &str, wanted: &[Principal<'_>]) {
    let statement = format!(
        r#"{{"Effect":"Deny","{element},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}}"#
    );
    let policy = bucket(&statement).unwrap();
    let impostor = Principal::Account { canonical_id: "bob-id", name: ANN_ID };
    let bob = Principal::Account { canonical_id: "bob-id", name: "bob" };
    for principal in [Principal::Anonymous, ANN, bob, impostor, LOGS] {
        let request = Request {
            action: "s3:GetObject",
            resource: "arn:aws:s3:::b/a",
            principal,
            context: &Context::new(),
        };
        let named = policy.evaluate(&request) == Decision::Deny;
        assert_eq!(named, wanted.contains(&principal), "{element}: {principal:?}");
    }
}

#[test]
fn z10_a_principal_is_named_in_many_ways() {
    let bob = Principal::Account { canonical_id: "bob-id", name: "bob" };
    let impostor = Principal::Account { canonical_id: "bob-id", name: ANN_ID };
    check_principal(r#"Principal":"*""#, &[Principal::Anonymous, ANN, bob, impostor, LOGS]);
    let everybody = [Principal::Anonymous, ANN, bob, impostor];
    check_principal(r#"Principal":{"AWS":"*"}"#, &everybody);
    check_principal(r#"Principal":{"AWS":["bob","*"]}"#, &everybody);
    for ann in [
        "ann",
        ANN_ID,
        "arn:aws:iam::ann:root",
        "arn:aws:iam:::user/ann",
        "arn:aws:iam:::user/path/ann",
        "arn:aws:iam::ann:user/ann",
        &format!("arn:aws:iam::{ANN_ID}:root"),
        &format!("arn:aws:iam::{ANN_ID}:user/ann"),
    ] {
        check_principal(&format!(r#"Principal":{{"AWS":"{ann}"}}"#), &[ANN]);
        let others: Vec<_> = [Principal::Anonymous, bob, impostor, LOGS].into_iter().collect();
        check_principal(&format!(r#"NotPrincipal":{{"AWS":"{ann}"}}"#), &others);
    }
    check_principal(&format!(r#"Principal":{{"CanonicalUser":"{ANN_ID}"}}"#), &[ANN]);
    check_principal(r#"Principal":{"AWS":["arn:aws:iam::ann:root","bob"]}"#, &[ANN, bob]);
    check_principal(r#"Principal":{"Service":"logging.s3.amazonaws.com"}"#, &[LOGS]);
    for nobody in [
        r#"{"AWS":"ANN"}"#,
        r#"{"CanonicalUser":"ann"}"#,
        r#"{"AWS":"arn:aws:iam::bob:user/ann"}"#,
        r#"{"AWS":"arn:aws:iam::ann:role/admin"}"#,
        r#"{"AWS":"arn:aws:sts::ann:assumed-role/admin/ann"}"#,
        r#"{"Federated":"accounts.example.com"}"#,
        r#"{"Service":"ec2.amazonaws.com"}"#,
    ] {
        check_principal(&format!(r#"Principal":{nobody}"#), &[]);
    }
}

#[track_caller]
fn check(statement: &str, action: &str, resource: &str, want: Decision) {
    let json = format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
    let policy = Policy::parse_identity(&json).unwrap();
    let mut context = Context::new();
    context.set("aws:username", "ann");
    let request = Request { action, resource, principal: ANN, context: &context };
    assert_eq!(policy.evaluate(&request), want, "{statement}: {action} {resource}");
}

#[test]
fn z10_wildcards_in_actions_are_for_any_case_and_in_resources_for_this_case() {
    use Decision::{Allow, NoMatch};
    let statement = |action: &str, resource: &str| {
        format!(r#"{{"Effect":"Allow","Action":"{action}","Resource":"{resource}"}}"#)
    };
    let all = "arn:aws:s3:::b/*";
    check(&statement("*", "*"), "s3:GetObject", "arn:aws:s3:::b", Allow);
    check(&statement("s3:*", all), "s3:GetObject", "arn:aws:s3:::b/a", Allow);
    check(&statement("S3:gETobject", all), "s3:GetObject", "arn:aws:s3:::b/a", Allow);
    check(&statement("s3:Get*", all), "s3:GetObjectAcl", "arn:aws:s3:::b/a", Allow);
    check(&statement("s3:GetObject", all), "s3:GetObjectAcl", "arn:aws:s3:::b/a", NoMatch);
    check(&statement("s3:GetObjec?", all), "s3:GetObject", "arn:aws:s3:::b/a", Allow);
    check(&statement("s3:GetObject?", all), "s3:GetObject", "arn:aws:s3:::b/a", NoMatch);
    check(&statement("sts:*", "*"), "s3:GetObject", "arn:aws:s3:::b/a", NoMatch);
    check(&statement("s3:*", all), "s3:ListBucket", "arn:aws:s3:::b", NoMatch);
    check(&statement("s3:*", "arn:aws:s3:::b"), "s3:GetObject", "arn:aws:s3:::b/a", NoMatch);
    check(&statement("s3:*", all), "s3:GetObject", "arn:aws:s3:::B/a", NoMatch);
    check(&statement("s3:*", all), "s3:GetObject", "arn:aws:s3:::bb/a", NoMatch);
    check(&statement("s3:*", "arn:aws:s3:::b*"), "s3:GetObject", "arn:aws:s3:::bb/a/b", Allow);
    check(&statement("s3:*", "arn:aws:s3:::?/a?"), "s3:GetObject", "arn:aws:s3:::b/aä", Allow);
}

#[test]
fn z10_what_is_excluded_is_all_but_what_is_listed() {
    use Decision::{Allow, Deny, NoMatch};
    let but_delete = r#"{"Effect":"Allow","NotAction":["s3:Delete*","s3:PutObject"],
        "Resource":"*"}"#;
    check(but_delete, "s3:GetObject", "arn:aws:s3:::b/a", Allow);
    check(but_delete, "s3:DeleteObject", "arn:aws:s3:::b/a", NoMatch);
    check(but_delete, "s3:PutObject", "arn:aws:s3:::b/a", NoMatch);
    let but_home = r#"[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny",
        "Action":"s3:*","NotResource":["arn:aws:s3:::b/${aws:username}/*","arn:aws:s3:::b"]}]"#;
    check(but_home, "s3:GetObject", "arn:aws:s3:::b/ann/x", Allow);
    check(but_home, "s3:ListBucket", "arn:aws:s3:::b", Allow);
    check(but_home, "s3:GetObject", "arn:aws:s3:::b/bob/x", Deny);
    check(but_home, "s3:GetObject", "arn:aws:s3:::b/ann", Deny);
}

#[test]
fn z10_a_variable_without_a_value_opens_nothing() {
    let nobody = |effect: &str, element: &str| {
        let statement =
            format!(r#"{{"Effect":"{effect}","Principal":"*","Action":"s3:GetObject",{element}}}"#);
        let policy = bucket(&statement).unwrap();
        policy.evaluate(&Request {
            action: "s3:GetObject",
            resource: "arn:aws:s3:::b/x",
            principal: Principal::Anonymous,
            context: &Context::new(),
        })
    };
    let home = r#":"arn:aws:s3:::b/${aws:username}*""#;
    assert_eq!(nobody("Allow", &format!(r#""Resource"{home}"#)), Decision::NoMatch);
    assert_eq!(nobody("Allow", &format!(r#""NotResource"{home}"#)), Decision::NoMatch);
    assert_eq!(nobody("Deny", &format!(r#""NotResource"{home}"#)), Decision::Deny);
    // Beside one that fits it does no harm.
    let two = r#""Resource":["arn:aws:s3:::b/${aws:username}/*","arn:aws:s3:::b/x"]"#;
    assert_eq!(nobody("Allow", two), Decision::Allow);
}

#[test]
fn variables_are_of_the_new_version_only() {
    let json = r#"{"Statement":{"Effect":"Allow","Action":"*",
        "Resource":"arn:aws:s3:::b/${aws:username}"}}"#;
    let mut context = Context::new();
    context.set("aws:username", "ann");
    let says = |json: &str, resource| {
        let request =
            Request { action: "s3:GetObject", resource, principal: ANN, context: &context };
        Policy::parse_identity(json).unwrap().evaluate(&request)
    };
    let new = json.replacen('{', r#"{"Version":"2012-10-17","#, 1);
    let old = json.replacen('{', r#"{"Version":"2008-10-17","#, 1);
    for (json, value, text) in [
        (new.as_str(), Decision::Allow, Decision::NoMatch),
        (&old, Decision::NoMatch, Decision::Allow),
        (json, Decision::NoMatch, Decision::Allow),
    ] {
        assert_eq!(says(json, "arn:aws:s3:::b/ann"), value, "{json}");
        assert_eq!(says(json, "arn:aws:s3:::b/${aws:username}"), text, "{json}");
    }
}

#[test]
fn a_policy_that_denies_everything_denies_everything() {
    let context = Context::new();
    for principal in [Principal::Anonymous, ANN, LOGS] {
        let request = Request { action: "s3:x", resource: "", principal, context: &context };
        assert_eq!(Policy::deny_all().evaluate(&request), Decision::Deny);
    }
    assert!(!Policy::deny_all().is_public());
}
