//! The decision against a second evaluator, which was written for nothing but
//! to be read: it knows no parser, no compiled patterns and no order of tests.
//! Names and values are few, so that most cases are about something.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::AccountId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::*;
use crate::auth::acl::{Grant, Grantee};

/// A statement as it is written.
#[derive(Clone, Debug)]
struct Said {
    allow: bool,
    not_principal: bool,
    principals: Vec<&'static str>,
    not_action: bool,
    actions: Vec<&'static str>,
    not_resource: bool,
    resources: Vec<&'static str>,
    conditions: Vec<(String, &'static str, Vec<&'static str>)>,
}

/// One case.
#[derive(Debug)]
struct Case {
    /// "" is nobody.
    who: &'static str,
    action: Action,
    resource: &'static str,
    key_policies: Vec<Vec<Said>>,
    bucket_policy: Option<Vec<Said>>,
    bucket_acl: Acl,
    object: Option<(&'static str, Acl)>,
    ownership: Ownership,
    public_access: PublicAccessBlock,
    context: BTreeMap<&'static str, Vec<&'static str>>,
}

/// The owner of every bucket is ann.
mod reference {
    use super::*;

    pub fn decide(case: &Case) -> bool {
        let owner = case.who == "ann";
        let keys_allow = case
            .key_policies
            .iter()
            .all(|policy| says(policy, true, case, false) && !says(policy, false, case, false));
        let policy = case.bucket_policy.clone().unwrap_or_default();
        let repair = ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"]
            .contains(&case.action.name());
        let denied = says(&policy, false, case, true) && !(owner && repair);
        let restricted =
            case.public_access.restrict_public_buckets && policy.iter().any(public) && !owner;
        keys_allow && !denied && !restricted && granted(case, &policy)
    }

    /// Whether somebody wants it who may want it.
    fn granted(case: &Case, policy: &[Said]) -> bool {
        let acls = case.ownership != Ownership::BucketOwnerEnforced;
        let name = case.action.name();
        let reads = ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectAcl", "s3:PutObjectAcl"]
            .contains(&name);
        let owner = match &case.object {
            Some((owner, _)) if reads && acls => owner,
            _ => "ann",
        };
        if case.who == owner || (owner == "ann" && says(policy, true, case, true)) {
            return true;
        }
        let wanted = match name {
            "s3:ListBucket" => (false, Permission::Read),
            "s3:PutObject" | "s3:DeleteObject" => (false, Permission::Write),
            "s3:GetObject" | "s3:GetObjectVersion" => (true, Permission::Read),
            "s3:GetObjectAcl" => (true, Permission::ReadAcp),
            "s3:PutObjectAcl" => (true, Permission::WriteAcp),
            _ => return false,
        };
        let grants = match (wanted.0, &case.object) {
            (false, _) => &case.bucket_acl.grants,
            (true, Some((_, acl))) => &acl.grants,
            (true, None) => return false,
        };
        acls && grants.iter().any(|grant| {
            let public = !case.public_access.ignore_public_acls;
            let to_me = match &grant.grantee {
                Grantee::Canonical(id) => id == case.who && !id.is_empty(),
                Grantee::AllUsers => public,
                Grantee::AuthenticatedUsers => public && !case.who.is_empty(),
                Grantee::LogDelivery => false,
            };
            to_me && [Permission::FullControl, wanted.1].contains(&grant.permission)
        })
    }

    /// Whether some statement allows (or denies) it.
    fn says(policy: &[Said], allow: bool, case: &Case, of_bucket: bool) -> bool {
        policy.iter().filter(|said| said.allow == allow).any(|said| {
            let about = |texts: &[&str], not: bool, text: &str| {
                let unknown = not && allow;
                let fits = |pattern: &&str| {
                    expand(pattern, case).map_or(unknown, |pattern| glob(&pattern, text))
                };
                texts.iter().any(fits) != not
            };
            let me = |name: &&str| *name == "*" || *name == case.who;
            (!of_bucket || said.principals.iter().any(me) != said.not_principal)
                && about(&said.actions, said.not_action, case.action.name())
                && about(&said.resources, said.not_resource, case.resource)
                && said
                    .conditions
                    .iter()
                    .all(|(operator, key, wanted)| condition(operator, key, wanted, case, allow))
        })
    }

    fn condition(operator: &str, key: &str, wanted: &[&str], case: &Case, allow: bool) -> bool {
        let values = case.context.get(key).cloned().unwrap_or_default();
        if operator == "Null" {
            return wanted.contains(&if values.is_empty() { "true" } else { "false" });
        }
        let negated = operator.contains("Not");
        let all = operator.starts_with("ForAllValues:");
        let any = operator.starts_with("ForAnyValue:");
        if values.is_empty() {
            return operator.ends_with("IfExists") || all || (negated && !any);
        }
        let passes = |value: &&str| {
            let fits = |pattern: &&str| match expand(pattern, case) {
                None => negated && allow,
                Some(pattern) if operator.contains("Like") => glob(&pattern, value),
                Some(text) => text == *value,
            };
            wanted.iter().any(fits) != negated
        };
        if all || (negated && !any) { values.iter().all(passes) } else { values.iter().any(passes) }
    }

    fn public(said: &Said) -> bool {
        let pinned = said.conditions.iter().any(|(operator, key, wanted)| {
            let open = |text: &&str| text.contains('$') || text.contains('*');
            let closed = !wanted.iter().any(open)
                || (operator.ends_with("StringEquals") && !wanted.iter().any(|t| t.contains('$')));
            let demands = ["StringEquals", "StringLike"]
                .iter()
                .any(|base| *operator == *base || *operator == format!("ForAnyValue:{base}"));
            *key == "aws:sourceaccount" && demands && closed
        });
        said.allow && said.principals.contains(&"*") && !pinned
    }

    fn expand(text: &str, case: &Case) -> Option<String> {
        match (text.contains("${aws:username}"), case.who) {
            (true, "") => None,
            (_, who) => Some(text.replace("${aws:username}", who)),
        }
    }

    fn glob(pattern: &str, text: &str) -> bool {
        match (pattern.chars().next(), text.chars().next()) {
            (None, None) => true,
            (Some('*'), None) => glob(&pattern[1..], text),
            (Some('*'), Some(_)) => glob(&pattern[1..], text) || glob(pattern, &text[1..]),
            (Some('?'), Some(_)) => glob(&pattern[1..], &text[1..]),
            (Some(a), Some(b)) => a == b && glob(&pattern[1..], &text[1..]),
            _ => false,
        }
    }
}

fn pick<T: Clone>(rng: &mut StdRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())].clone()
}

fn some<T: Clone>(rng: &mut StdRng, from: &[T]) -> Vec<T> {
    (0..rng.random_range(1..3)).map(|_| pick(rng, from)).collect()
}

fn said(rng: &mut StdRng) -> Said {
    let allow = rng.random_bool(0.7);
    let quantifiers = ["", "", "ForAllValues:", "ForAnyValue:"];
    let operators = ["StringEquals", "StringNotEquals", "StringLike", "StringNotLike"];
    let mut conditions = BTreeMap::new();
    for _ in 0..pick(rng, &[0, 0, 1, 1, 2]) {
        let key = pick(rng, &["s3:prefix", "aws:tagkeys", "aws:sourceaccount"]);
        let if_exists = pick(rng, &["", "", "IfExists"]);
        let (operator, wanted) = if rng.random_bool(0.2) {
            ("Null".to_owned(), some(rng, &["true", "false"]))
        } else {
            let operator = pick(rng, &operators);
            let values = ["a", "b", "a*", "*", "ann", "${aws:username}"];
            (format!("{}{operator}{if_exists}", pick(rng, &quantifiers)), some(rng, &values))
        };
        conditions.insert((operator, key), wanted);
    }
    let actions = [
        "*",
        "s3:*",
        "s3:Get*",
        "s3:GetObject",
        "s3:?etObject*",
        "s3:PutObject",
        "s3:*Bucket*",
        "s3:DeleteObject",
    ];
    let resources = [
        "arn:aws:s3:::b",
        "arn:aws:s3:::b*",
        "arn:aws:s3:::b/*",
        "arn:aws:s3:::b/a",
        "arn:aws:s3:::b/?",
        "arn:aws:s3:::b/${aws:username}/*",
    ];
    Said {
        allow,
        // Together with Allow it is not valid.
        not_principal: !allow && rng.random_bool(0.2),
        principals: some(rng, &["*", "*", "ann", "bob", "eve"]),
        not_action: rng.random_bool(0.15),
        actions: some(rng, &actions),
        not_resource: rng.random_bool(0.15),
        resources: some(rng, &resources),
        conditions: conditions.into_iter().map(|((o, k), wanted)| (o, k, wanted)).collect(),
    }
}

fn policy(rng: &mut StdRng) -> Vec<Said> {
    (0..rng.random_range(1..4)).map(|_| said(rng)).collect()
}

fn acl(rng: &mut StdRng, owner: &str) -> Acl {
    let grantees = [
        Grantee::AllUsers,
        Grantee::AuthenticatedUsers,
        Grantee::LogDelivery,
        Grantee::Canonical("bob".to_owned()),
        Grantee::Canonical("ann".to_owned()),
        Grantee::Canonical(String::new()),
    ];
    let grants = (0..rng.random_range(0..3))
        .map(|_| Grant { grantee: pick(rng, &grantees), permission: pick(rng, &Permission::ALL) })
        .collect();
    Acl::new(owner, grants).unwrap()
}

/// A case under these policies.
fn case(rng: &mut StdRng, policies: &Policies) -> Case {
    let of_bucket = [
        Action::ListBucket,
        Action::GetBucketPolicy,
        Action::DeleteBucketPolicy,
        Action::GetBucketCors,
    ];
    let of_object = [
        Action::GetObject,
        Action::GetObjectVersion,
        Action::GetObjectAcl,
        Action::PutObjectAcl,
        Action::PutObject,
        Action::DeleteObject,
        Action::DeleteObjectVersion,
        Action::GetObjectTagging,
    ];
    let keys = ["arn:aws:s3:::b/a", "arn:aws:s3:::b/ann/x", "arn:aws:s3:::b/bob/b"];
    let about_object = rng.random_bool(0.7);
    let owner = pick(rng, &["ann", "ann", "bob", "eve"]);
    let object_acl = acl(rng, owner);
    let mut context = BTreeMap::new();
    for key in ["s3:prefix", "aws:sourceaccount"] {
        if rng.random_bool(0.7) {
            context.insert(key, vec![pick(rng, &["a", "b", "ann", "*"])]);
        }
    }
    if rng.random_bool(0.8) {
        context.insert("aws:tagkeys", some(rng, &["a", "b", "ab"]));
    }
    Case {
        who: pick(rng, &["", "ann", "bob", "eve"]),
        action: if about_object { pick(rng, &of_object) } else { pick(rng, &of_bucket) },
        resource: if about_object { pick(rng, &keys) } else { "arn:aws:s3:::b" },
        key_policies: policies.key.clone(),
        bucket_policy: policies.bucket.clone(),
        bucket_acl: acl(rng, "ann"),
        object: (about_object && rng.random_bool(0.8)).then_some((owner, object_acl)),
        ownership: pick(
            rng,
            &[
                Ownership::ObjectWriter,
                Ownership::BucketOwnerPreferred,
                Ownership::BucketOwnerEnforced,
            ],
        ),
        public_access: PublicAccessBlock {
            ignore_public_acls: rng.random_bool(0.2),
            restrict_public_buckets: rng.random_bool(0.2),
            ..PublicAccessBlock::default()
        },
        context,
    }
}

fn to_json(policy: &[Said], of_bucket: bool) -> String {
    let statements = policy.iter().map(|said| {
        let mut json = json!({ "Effect": if said.allow { "Allow" } else { "Deny" } });
        let not = |not: bool, name: &str| format!("{}{name}", if not { "Not" } else { "" });
        json[not(said.not_action, "Action")] = json!(said.actions);
        json[not(said.not_resource, "Resource")] = json!(said.resources);
        if of_bucket {
            json[not(said.not_principal, "Principal")] = json!({ "AWS": said.principals });
        }
        for (operator, key, wanted) in &said.conditions {
            json["Condition"][operator][key] = json!(wanted);
        }
        json
    });
    json!({ "Version": "2012-10-17", "Statement": statements.collect::<Vec<Value>>() }).to_string()
}

/// Policies as they are written and as they are read.
struct Policies {
    key: Vec<Vec<Said>>,
    bucket: Option<Vec<Said>>,
    read_key: Vec<Arc<Policy>>,
    read_bucket: Option<Policy>,
}

impl Policies {
    fn new(rng: &mut StdRng) -> Self {
        let key: Vec<_> = (0..pick(rng, &[0, 0, 0, 1, 2])).map(|_| policy(rng)).collect();
        let bucket = rng.random_bool(0.7).then(|| policy(rng));
        let read = |policy: &Vec<Said>| Policy::parse_identity(&to_json(policy, false)).unwrap();
        let read_key = key.iter().map(|policy| Arc::new(read(policy))).collect();
        let read = |policy| Policy::parse_bucket(&to_json(policy, true), "b").unwrap();
        let read_bucket = bucket.as_deref().map(read);
        Self { key, bucket, read_key, read_bucket }
    }
}

fn decided(case: &Case, policies: &Policies) -> bool {
    let who = Identity {
        account: (!case.who.is_empty()).then_some(AccountId([1; 16])),
        canonical_id: case.who.to_owned(),
        account_name: case.who.to_owned(),
        access_key: String::new(),
        policies: policies.read_key.clone(),
    };
    let mut context = Context::new();
    if !who.is_anonymous() {
        context.set("aws:username", case.who);
    }
    for (key, values) in &case.context {
        values.iter().for_each(|value| context.add(key, *value));
    }
    let object = case.object.as_ref();
    let access = Access {
        who: &who,
        action: case.action,
        resource: case.resource,
        bucket_owner: "ann",
        bucket_acl: Some(&case.bucket_acl),
        object: object.map(|(owner, acl)| ObjectAccess { owner, acl: Some(acl) }),
        policy: policies.read_bucket.as_ref(),
        ownership: case.ownership,
        public_access: case.public_access,
        context: &context,
    };
    authorize(&access).is_ok()
}

#[test]
fn z01_a_hundred_thousand_cases_are_decided_as_the_reference_decides_them() {
    // Policies are dear to write and read, so each set decides several cases.
    const SETS: u32 = 12_500;
    const EACH: u32 = 8;
    const CASES: u32 = SETS * EACH;
    let (mut allowed, mut anonymous) = (0, 0);
    for seed in 0..u64::from(SETS) {
        let mut rng = StdRng::seed_from_u64(seed);
        let policies = Policies::new(&mut rng);
        for _ in 0..EACH {
            let case = case(&mut rng, &policies);
            let want = reference::decide(&case);
            assert_eq!(decided(&case, &policies), want, "seed {seed}: {case:#?}");
            allowed += u32::from(want);
            anonymous += u32::from(want && case.who.is_empty());
        }
    }
    assert_eq!(CASES, 100_000);
    // Otherwise the cases would show little.
    assert!((CASES / 10..CASES * 9 / 10).contains(&allowed), "{allowed} are allowed");
    assert!(anonymous > CASES / 100, "{anonymous} are allowed to anybody");
}
