use std::sync::Arc;

use protocol::AccountId;

use super::*;
use crate::auth::acl::{AclRequest, CannedAcl};

const ANN: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const BOB: &str = "2222222222222222222222222222222222222222222222222222222222222222";

fn account(id: &str, name: &str, policies: &[&str]) -> Identity {
    let parse = |statement: &&str| Arc::new(Policy::parse_identity(&document(statement)).unwrap());
    Identity {
        account: Some(AccountId([1; 16])),
        canonical_id: id.to_owned(),
        account_name: name.to_owned(),
        access_key: "SK1".to_owned(),
        policies: policies.iter().map(parse).collect(),
    }
}

fn document(statements: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)
}

fn bucket_policy(statements: &str) -> Policy {
    Policy::parse_bucket(&document(statements), "photos").unwrap()
}

fn canned(name: &str) -> AclRequest {
    AclRequest::Canned(CannedAcl::parse(name).unwrap())
}

/// Ann's bucket, private and without a policy.
struct Bucket {
    policy: Option<Policy>,
    acl: Option<Acl>,
    ownership: Ownership,
    public_access: PublicAccessBlock,
}

impl Bucket {
    fn new() -> Self {
        Self {
            policy: None,
            acl: None,
            ownership: Ownership::ObjectWriter,
            public_access: PublicAccessBlock::default(),
        }
    }

    fn policy(statements: &str) -> Self {
        Self { policy: Some(bucket_policy(statements)), ..Self::new() }
    }

    fn acl(name: &str) -> Self {
        Self { acl: Some(canned(name).for_bucket(ANN).unwrap()), ..Self::new() }
    }

    fn decide(
        &self,
        who: &Identity,
        action: Action,
        key: Option<&str>,
        object: Option<(&str, &Acl)>,
    ) -> Result<Basis, Denied> {
        let resource = key.map_or(bucket_arn("photos"), |key| object_arn("photos", key));
        decide(&Access {
            who,
            action,
            resource: &resource,
            bucket_owner: ANN,
            bucket_acl: self.acl.as_ref(),
            object: object.map(|(owner, acl)| ObjectAccess { owner, acl: Some(acl) }),
            policy: self.policy.as_ref(),
            ownership: self.ownership,
            public_access: self.public_access,
            context: &Context::new(),
        })
    }

    /// About the bucket itself.
    fn of_bucket(&self, who: &Identity, action: Action) -> Result<Basis, Denied> {
        self.decide(who, action, None, None)
    }

    /// About an object of Ann's.
    fn of_object(&self, who: &Identity, action: Action) -> Result<Basis, Denied> {
        self.decide(who, action, Some("cat.jpg"), Some((ANN, &Acl::private(ANN))))
    }
}

fn people() -> (Identity, Identity, Identity) {
    (account(ANN, "ann", &[]), account(BOB, "bob", &[]), Identity::anonymous())
}

const ALLOW_ALL: &str = r#"{"Effect":"Allow","Principal":"*","Action":"s3:*",
    "Resource":["arn:aws:s3:::photos","arn:aws:s3:::photos/*"]}"#;
const DENY_ALL: &str = r#"{"Effect":"Deny","Principal":"*","Action":"s3:*",
    "Resource":["arn:aws:s3:::photos","arn:aws:s3:::photos/*"]}"#;
const KEY_ALLOWS_ALL: &str = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
const KEY_MAY_GET: &str =
    r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}"#;
const KEY_DENIES_GET: &str =
    r#"{"Effect":"Deny","Action":"s3:GetObject","Resource":"arn:aws:s3:::photos/*"}"#;

#[test]
fn z01_by_default_only_the_owner_may_do_anything() {
    let bucket = Bucket::new();
    let (ann, bob, anybody) = people();
    for action in Action::ALL {
        assert_eq!(bucket.of_bucket(&ann, *action), Ok(Basis::Owner), "{action:?}");
        assert_eq!(bucket.of_object(&ann, *action), Ok(Basis::Owner), "{action:?}");
        for who in [&bob, &anybody] {
            assert_eq!(bucket.of_bucket(who, *action), Err(Denied), "{action:?}");
            assert_eq!(bucket.of_object(who, *action), Err(Denied), "{action:?}");
        }
    }
}

#[test]
fn z01_an_owner_without_a_name_is_not_anybody() {
    let access = Access {
        who: &Identity::anonymous(),
        action: Action::GetObject,
        resource: "arn:aws:s3:::photos/a",
        bucket_owner: "",
        bucket_acl: Some(&Acl::private("")),
        object: Some(ObjectAccess { owner: "", acl: Some(&Acl::private("")) }),
        policy: None,
        ownership: Ownership::ObjectWriter,
        public_access: PublicAccessBlock::default(),
        context: &Context::new(),
    };
    assert_eq!(authorize(&access), Err(Denied));
    let list = Access { action: Action::ListAllMyBuckets, object: None, ..access };
    assert_eq!(authorize(&list), Err(Denied));
}

#[test]
fn z01_an_explicit_denial_wins_over_every_allowance() {
    let (ann, bob, anybody) = people();
    let mut bucket = Bucket::policy(&format!("{ALLOW_ALL},{DENY_ALL}"));
    bucket.acl = Bucket::acl("public-read-write").acl;
    for who in [&ann, &bob, &anybody] {
        assert_eq!(bucket.of_object(who, Action::GetObject), Err(Denied));
        assert_eq!(bucket.of_bucket(who, Action::ListBucket), Err(Denied));
    }
    // A denial in any policy of the key counts, whatever the others say.
    let key = account(ANN, "ann", &[KEY_ALLOWS_ALL, &format!("{KEY_ALLOWS_ALL},{KEY_DENIES_GET}")]);
    let open = Bucket::policy(ALLOW_ALL);
    assert_eq!(open.of_object(&key, Action::GetObject), Err(Denied));
    assert_eq!(open.of_object(&key, Action::PutObject), Ok(Basis::Owner));
}

#[test]
fn z01_the_owner_can_repair_a_policy_that_denies_everything() {
    let (ann, bob, _) = people();
    let limited = account(ANN, "ann", &[KEY_MAY_GET]);
    let denies_this = r#"{"Effect":"Deny","Action":"s3:DeleteBucketPolicy","Resource":"*"}"#;
    let forbidden = account(ANN, "ann", &[&format!("{KEY_ALLOWS_ALL},{denies_this}")]);
    for bucket in
        [Bucket::policy(DENY_ALL), Bucket { policy: Some(Policy::deny_all()), ..Bucket::new() }]
    {
        for action in [Action::GetBucketPolicy, Action::PutBucketPolicy, Action::DeleteBucketPolicy]
        {
            assert_eq!(bucket.of_bucket(&ann, action), Ok(Basis::Owner));
            assert_eq!(bucket.of_bucket(&bob, action), Err(Denied));
            assert_eq!(bucket.of_bucket(&limited, action), Err(Denied));
        }
        assert_eq!(bucket.of_bucket(&ann, Action::GetBucketPolicyStatus), Err(Denied));
        assert_eq!(bucket.of_bucket(&ann, Action::DeleteBucket), Err(Denied));
        assert_eq!(bucket.of_bucket(&forbidden, Action::DeleteBucketPolicy), Err(Denied));
        assert_eq!(bucket.of_bucket(&forbidden, Action::GetBucketPolicy), Ok(Basis::Owner));
    }
}

#[test]
fn z02_a_policy_about_one_key_is_not_about_longer_or_shorter_ones() {
    let (_, bob, _) = people();
    let key = "a/b:c/d?e*f";
    let statement = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",
        "Resource":"arn:aws:s3:::photos/a/b:c/d${?}e${*}f"}"#;
    let bucket = Bucket::policy(statement);
    let get = |key: &str| bucket.decide(&bob, Action::GetObject, Some(key), None);
    assert_eq!(get(key), Ok(Basis::Policy));
    let others =
        ["a", "a/b", "a/b:c", "a/b:c/d", "a/b:c/d?e", "a/b:c/d?e*f/", "a/b:c/dxexf", "A/b:c/d?e*f"];
    for other in others.into_iter().chain(["/a/b:c/d?e*f", "a/b:c/d?e*f\0", ""]) {
        assert_eq!(get(other), Err(Denied), "{other:?}");
    }
    // Nor is one about a folder about the keys beside it.
    let folder = statement.replace("a/b:c/d${?}e${*}f", "home/bob/*");
    let bucket = Bucket::policy(&folder);
    let get = |key: &str| bucket.decide(&bob, Action::GetObject, Some(key), None);
    assert_eq!(get("home/bob/"), Ok(Basis::Policy));
    assert_eq!(get("home/bob/../ann/x"), Ok(Basis::Policy), "keys have no parents");
    assert_eq!(get("home/bob"), Err(Denied));
    assert_eq!(get("home/bobby/x"), Err(Denied));
}

#[test]
fn z11_anybody_needs_a_grant_of_their_own_for_lists_and_for_versions() {
    let (_, bob, anybody) = people();
    let lists = r#"{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket",
        "Resource":"arn:aws:s3:::photos"}"#;
    let mut bucket = Bucket::policy(lists);
    assert_eq!(bucket.of_bucket(&anybody, Action::ListBucket), Ok(Basis::Policy));
    assert_eq!(bucket.of_bucket(&anybody, Action::ListBucketVersions), Err(Denied));
    assert_eq!(bucket.of_object(&anybody, Action::GetObject), Err(Denied));
    // Switched off, nobody else has it, signed or not.
    bucket.public_access.restrict_public_buckets = true;
    for who in [&anybody, &bob] {
        assert_eq!(bucket.of_bucket(who, Action::ListBucket), Err(Denied));
    }
    let versions = lists.replace("ListBucket\"", "ListBucketVersions\"");
    let bucket = Bucket::policy(&versions);
    assert_eq!(bucket.of_bucket(&anybody, Action::ListBucketVersions), Ok(Basis::Policy));
    assert_eq!(bucket.of_bucket(&anybody, Action::ListBucket), Err(Denied));
}

#[test]
fn z11_restricting_a_public_bucket_leaves_the_owner_and_private_policies_alone() {
    let (ann, bob, anybody) = people();
    let block = PublicAccessBlock { restrict_public_buckets: true, ..Default::default() };
    let public = Bucket { public_access: block, ..Bucket::policy(ALLOW_ALL) };
    assert_eq!(public.of_object(&ann, Action::GetObject), Ok(Basis::Owner));
    assert_eq!(public.of_object(&bob, Action::GetObject), Err(Denied));
    // Neither by an ACL.
    let by_acl =
        Bucket { acl: Bucket::acl("public-read").acl, ..Bucket { public_access: block, ..public } };
    assert_eq!(by_acl.of_bucket(&anybody, Action::ListBucket), Err(Denied));

    let for_bob = ALLOW_ALL.replace(r#""*""#, r#"{"AWS":"arn:aws:iam::bob:root"}"#);
    let private = Bucket { public_access: block, ..Bucket::policy(&for_bob) };
    assert_eq!(private.of_object(&bob, Action::GetObject), Ok(Basis::Policy));
    assert_eq!(private.of_object(&anybody, Action::GetObject), Err(Denied));
}

#[test]
fn z11_public_grants_count_unless_they_are_ignored_or_acls_are_off() {
    let (ann, bob, anybody) = people();
    let object = canned("public-read").for_object(ANN, ANN).unwrap();
    let mut bucket = Bucket::acl("public-read");
    let get = |bucket: &Bucket, who| {
        bucket.decide(who, Action::GetObject, Some("cat.jpg"), Some((ANN, &object)))
    };
    assert_eq!(bucket.of_bucket(&anybody, Action::ListBucket), Ok(Basis::Acl));
    assert_eq!(get(&bucket, &anybody), Ok(Basis::Acl));
    // A public bucket does not make its objects public.
    assert_eq!(bucket.of_object(&anybody, Action::GetObject), Err(Denied));
    bucket.public_access.ignore_public_acls = true;
    assert_eq!(bucket.of_bucket(&bob, Action::ListBucket), Err(Denied));
    assert_eq!(get(&bucket, &bob), Err(Denied));
    assert_eq!(get(&bucket, &ann), Ok(Basis::Owner));
    bucket.public_access.ignore_public_acls = false;
    bucket.ownership = Ownership::BucketOwnerEnforced;
    assert_eq!(bucket.of_bucket(&bob, Action::ListBucket), Err(Denied));
    assert_eq!(get(&bucket, &bob), Err(Denied));
}

#[test]
fn z11_each_permission_of_an_acl_is_worth_its_own_actions() {
    let (_, bob, _) = people();
    for permission in Permission::ALL {
        let grants = vec![crate::auth::acl::Grant {
            grantee: crate::auth::acl::Grantee::Canonical(BOB.to_owned()),
            permission,
        }];
        let acl = Acl::new(ANN, grants).unwrap();
        let bucket = Bucket { acl: Some(acl.clone()), ..Bucket::new() };
        for action in Action::ALL {
            let full = permission == Permission::FullControl;
            let of_bucket = bucket.of_bucket(&bob, *action).is_ok();
            let want =
                matches!(action.acl_rule(), Some(AclRule::Bucket(p)) if full || p == permission);
            assert_eq!(of_bucket, want, "{permission:?} on a bucket, {action:?}");
            let object = Some((ANN, &acl));
            let of_object = Bucket::new().decide(&bob, *action, Some("a"), object).is_ok();
            let want =
                matches!(action.acl_rule(), Some(AclRule::Object(p)) if full || p == permission);
            assert_eq!(of_object, want, "{permission:?} on an object, {action:?}");
        }
    }
    // What no grant is worth.
    for action in [
        Action::DeleteObjectVersion,
        Action::GetObjectTagging,
        Action::BypassGovernanceRetention,
        Action::PutBucketPolicy,
        Action::DeleteBucket,
    ] {
        assert_eq!(action.acl_rule(), None, "{action:?}");
    }
}

#[test]
fn an_object_of_another_account_is_its_owners_to_show_and_the_buckets_to_delete() {
    let (ann, bob, anybody) = people();
    let mut bucket = Bucket::policy(ALLOW_ALL);
    let private = Acl::private(BOB);
    let ask =
        |bucket: &Bucket, who, action, acl| bucket.decide(who, action, Some("a"), Some((BOB, acl)));
    for action in Action::ALL.iter().filter(|action| action.is_of_object_owner()) {
        // Ann's policy cannot give away what is Bob's, not even to herself.
        assert_eq!(ask(&bucket, &ann, *action, &private), Err(Denied), "{action:?}");
        assert_eq!(ask(&bucket, &anybody, *action, &private), Err(Denied), "{action:?}");
        assert_eq!(ask(&bucket, &bob, *action, &private), Ok(Basis::Owner), "{action:?}");
    }
    for action in [Action::DeleteObject, Action::DeleteObjectVersion, Action::PutObjectTagging] {
        assert_eq!(ask(&bucket, &ann, action, &private), Ok(Basis::Owner), "{action:?}");
        assert_eq!(ask(&bucket, &bob, action, &private), Ok(Basis::Policy), "{action:?}");
    }
    let shown = canned("bucket-owner-read").for_object(BOB, ANN).unwrap();
    assert_eq!(ask(&bucket, &ann, Action::GetObject, &shown), Ok(Basis::Acl));
    assert_eq!(ask(&bucket, &ann, Action::PutObjectAcl, &shown), Err(Denied));
    // Where ACLs are off, all of it is Ann's.
    bucket.ownership = Ownership::BucketOwnerEnforced;
    assert_eq!(ask(&bucket, &ann, Action::GetObject, &private), Ok(Basis::Owner));
    assert_eq!(ask(&bucket, &bob, Action::GetObject, &private), Ok(Basis::Policy));
    bucket.policy = None;
    assert_eq!(ask(&bucket, &bob, Action::GetObject, &private), Err(Denied));
    // Ann can shut out the owner of an object in her bucket.
    let denies = Bucket::policy(DENY_ALL);
    assert_eq!(ask(&denies, &bob, Action::GetObject, &private), Err(Denied));
}

#[test]
fn z12_a_key_with_a_policy_may_do_what_the_policy_says_and_no_more() {
    let reader = account(ANN, "ann", &[KEY_MAY_GET]);
    let bucket = Bucket::policy(ALLOW_ALL);
    assert_eq!(bucket.of_object(&reader, Action::GetObject), Ok(Basis::Owner));
    for action in Action::ALL.iter().filter(|action| **action != Action::GetObject) {
        assert_eq!(bucket.of_object(&reader, *action), Err(Denied), "{action:?}");
        assert_eq!(bucket.of_bucket(&reader, *action), Err(Denied), "{action:?}");
    }
    // A policy of a key opens nothing that its account may not do.
    let eager = account(BOB, "bob", &[KEY_ALLOWS_ALL]);
    assert_eq!(Bucket::new().of_object(&eager, Action::GetObject), Err(Denied));
    assert_eq!(bucket.of_object(&eager, Action::GetObject), Ok(Basis::Policy));
    // One that only denies allows nothing.
    let denying = account(ANN, "ann", &[KEY_DENIES_GET]);
    assert_eq!(bucket.of_object(&denying, Action::PutObject), Err(Denied));
}

#[test]
fn z12_the_policies_of_a_key_and_its_session_intersect() {
    let put = KEY_MAY_GET.replace("GetObject", "PutObject");
    let both = format!("{KEY_MAY_GET},{put}");
    let bucket = Bucket::new();
    let session = account(ANN, "ann", &[&both, &put]);
    assert_eq!(bucket.of_object(&session, Action::PutObject), Ok(Basis::Owner));
    assert_eq!(bucket.of_object(&session, Action::GetObject), Err(Denied));
    let disjoint = account(ANN, "ann", &[KEY_MAY_GET, &put]);
    for action in Action::ALL {
        assert_eq!(bucket.of_object(&disjoint, *action), Err(Denied), "{action:?}");
    }
}

#[test]
fn names_of_actions_are_those_of_policies() {
    assert_eq!(Action::GetObject.name(), "s3:GetObject");
    assert_eq!(Action::BypassGovernanceRetention.name(), "s3:BypassGovernanceRetention");
    // In any case of letters.
    let (_, bob, _) = people();
    let cors = r#"{"Effect":"Allow","Principal":{"AWS":"bob"},"Action":"S3:getbucketCORS",
        "Resource":"arn:aws:s3:::photos"}"#;
    let bucket = Bucket::policy(cors);
    assert_eq!(bucket.of_bucket(&bob, Action::GetBucketCors), Ok(Basis::Policy));
    assert_eq!(bucket.of_bucket(&bob, Action::PutBucketCors), Err(Denied));
}
