//! What is configured for buckets and kept with objects, as S3 clients see it:
//! it comes back as it was set, what was never set has a code of its own, and
//! what makes no sense is refused and changes nothing.

mod asking;
mod world;

use asking::{done, element, outcome, refused, request, text};
use http::Method;
use stratos::client::Response;
use world::{BUCKET, World, sample};

/// A request about the bucket ("") or an object, with a document.
async fn send(
    world: &World,
    method: Method,
    key: &str,
    query: &[(&str, &str)],
    document: &str,
) -> Response {
    let request = request(method, key, query, &[]).body(document.to_owned().into_bytes());
    world.s3.send(request).await.unwrap()
}

async fn put(world: &World, name: &str, document: &str) -> (u16, String) {
    outcome(send(world, Method::PUT, "", &[(name, "")], document).await).await
}

async fn get(world: &World, name: &str) -> (u16, String) {
    outcome(send(world, Method::GET, "", &[(name, "")], "").await).await
}

async fn delete(world: &World, name: &str) -> (u16, String) {
    outcome(send(world, Method::DELETE, "", &[(name, "")], "").await).await
}

async fn shown(world: &World, key: &str, name: &str) -> String {
    text(send(world, Method::GET, key, &[(name, "")], "").await).await
}

async fn set_versioning(world: &World, status: &str) -> (u16, String) {
    let document =
        format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
    put(world, "versioning", &document).await
}

fn missing(code: &str) -> (u16, String) {
    (404, code.to_owned())
}

fn removed() -> (u16, String) {
    (204, String::new())
}

/// Sub-resource, the code of one that was never set, a document, and what the
/// answer has to hold of it.
const KEPT: &[(&str, &str, &str, &str)] = &[
    (
        "tagging",
        "NoSuchTagSet",
        "<Tagging><TagSet><Tag><Key>team</Key><Value>a b</Value></Tag></TagSet></Tagging>",
        "<Key>team</Key><Value>a b</Value>",
    ),
    (
        "cors",
        "NoSuchCORSConfiguration",
        "<CORSConfiguration><CORSRule><AllowedOrigin>https://a.test</AllowedOrigin>\
         <AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>",
        "<AllowedOrigin>https://a.test</AllowedOrigin>",
    ),
    (
        "lifecycle",
        "NoSuchLifecycleConfiguration",
        "<LifecycleConfiguration><Rule><ID>r1</ID><Status>Enabled</Status>\
         <Filter><Prefix>logs/</Prefix></Filter><Expiration><Days>7</Days></Expiration></Rule>\
         </LifecycleConfiguration>",
        "<ID>r1</ID>",
    ),
    (
        "encryption",
        "ServerSideEncryptionConfigurationNotFoundError",
        "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
         <SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>\
         </ServerSideEncryptionConfiguration>",
        "<SSEAlgorithm>AES256</SSEAlgorithm>",
    ),
    (
        "website",
        "NoSuchWebsiteConfiguration",
        "<WebsiteConfiguration><IndexDocument><Suffix>i.html</Suffix></IndexDocument>\
         </WebsiteConfiguration>",
        "<Suffix>i.html</Suffix>",
    ),
    (
        "publicAccessBlock",
        "NoSuchPublicAccessBlockConfiguration",
        "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>\
         </PublicAccessBlockConfiguration>",
        "<BlockPublicAcls>true</BlockPublicAcls>",
    ),
    (
        "ownershipControls",
        "OwnershipControlsNotFoundError",
        "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>\
         </OwnershipControls>",
        "<ObjectOwnership>BucketOwnerEnforced</ObjectOwnership>",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_comes_back_until_it_is_deleted() {
    let world = World::start().await;
    for (name, code, document, part) in KEPT {
        assert_eq!(get(&world, name).await, missing(code), "{name}");
        let set = put(&world, name, document).await;
        assert!([200, 204].contains(&set.0), "{name}: {set:?}");
        let answer = shown(&world, "", name).await;
        assert!(answer.contains(part), "{name}: {answer}");
        assert_eq!(delete(&world, name).await, removed(), "{name}");
        assert_eq!(get(&world, name).await, missing(code), "{name}");
        assert_eq!(delete(&world, name).await, removed(), "{name} again");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_set_is_said_as_s3_says_it() {
    let world = World::start().await;
    for (name, code) in [
        ("policy", "NoSuchBucketPolicy"),
        ("object-lock", "ObjectLockConfigurationNotFoundError"),
        ("replication", "ReplicationConfigurationNotFoundError"),
    ] {
        assert_eq!(get(&world, name).await, missing(code), "{name}");
    }
    for name in ["analytics", "metrics", "inventory", "intelligent-tiering"] {
        let query = [(name, ""), ("id", "x")];
        let one = send(&world, Method::GET, "", &query, "").await;
        assert_eq!(outcome(one).await, missing("NoSuchConfiguration"), "{name}");
        assert_eq!(get(&world, name).await, done(), "{name}");
    }
    // These always have a value.
    assert!(shown(&world, "", "requestPayment").await.contains("<Payer>BucketOwner</Payer>"));
    for name in ["versioning", "logging", "notification", "accelerate", "acl", "location"] {
        assert_eq!(get(&world, name).await, done(), "{name}");
    }
    // And these are not there.
    let rules = "<ReplicationConfiguration><Role>r</Role><Rule><Status>Enabled</Status>\
                 <Destination><Bucket>arn:aws:s3:::b</Bucket></Destination></Rule>\
                 </ReplicationConfiguration>";
    assert_eq!(put(&world, "replication", rules).await.0, 501);
    assert_eq!(get(&world, "session").await.0, 501);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_make_no_sense_are_refused_and_change_nothing() {
    let world = World::start().await;
    for (name, _, document, _) in KEPT {
        assert!(put(&world, name, document).await.0 < 300, "{name}");
    }
    let rule = |inside: &str| {
        format!("<LifecycleConfiguration><Rule>{inside}</Rule></LifecycleConfiguration>")
    };
    let filter = "<Filter><Prefix>a</Prefix></Filter><Status>Enabled</Status>";
    let zero = rule(&format!("{filter}<Expiration><Days>0</Days></Expiration>"));
    let noon = rule(&format!("{filter}<Expiration><Date>2030-01-01T12:00:00Z</Date></Expiration>"));
    let tags = (0..51).map(|n| format!("<Tag><Key>{n}</Key><Value>v</Value></Tag>"));
    let many_tags = format!("<Tagging><TagSet>{}</TagSet></Tagging>", tags.collect::<String>());
    for (name, document, code) in [
        ("lifecycle", zero.as_str(), "InvalidArgument"),
        ("lifecycle", noon.as_str(), "InvalidArgument"),
        ("lifecycle", "<LifecycleConfiguration></LifecycleConfiguration>", "MalformedXML"),
        ("tagging", many_tags.as_str(), "InvalidTag"),
        (
            "cors",
            "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin>\
             <AllowedMethod>PATCH</AllowedMethod></CORSRule></CORSConfiguration>",
            "InvalidRequest",
        ),
        ("website", "<WebsiteConfiguration></WebsiteConfiguration>", "InvalidArgument"),
        ("ownershipControls", "<OwnershipControls></OwnershipControls>", "MalformedXML"),
        ("encryption", "<ServerSideEncryptionConfiguration", "MalformedXML"),
        (
            "versioning",
            "<VersioningConfiguration><Status>on</Status></VersioningConfiguration>",
            "MalformedXML",
        ),
        ("policy", r#"{"Version":"2012-10-17"}"#, "MalformedPolicy"),
        ("policy", "not json", "MalformedPolicy"),
    ] {
        assert_eq!(put(&world, name, document).await, refused(code), "{name} {document}");
    }
    for (name, _, _, part) in KEPT {
        assert!(shown(&world, "", name).await.contains(part), "{name}");
    }
    assert_eq!(get(&world, "policy").await, missing("NoSuchBucketPolicy"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_comes_back_byte_by_byte_unless_it_would_be_public_and_may_not() {
    let world = World::start().await;
    let policy = format!(
        r#"{{ "Version": "2012-10-17",  "Statement": [{{"Effect": "Allow", "Principal": "*",
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::{BUCKET}/*"}}]}}"#
    );
    assert!(put(&world, "policy", &policy).await.0 < 300);
    assert_eq!(shown(&world, "", "policy").await, policy);
    let status = shown(&world, "", "policyStatus").await;
    assert_eq!(element(&status, "IsPublic").to_lowercase(), "true");
    assert_eq!(delete(&world, "policy").await, removed());
    let block = "<PublicAccessBlockConfiguration><BlockPublicPolicy>true</BlockPublicPolicy>\
                 </PublicAccessBlockConfiguration>";
    assert_eq!(put(&world, "publicAccessBlock", block).await, done());
    let denied = (403, "AccessDenied".to_owned());
    assert_eq!(put(&world, "policy", &policy).await, denied);
    assert_eq!(get(&world, "policy").await, missing("NoSuchBucketPolicy"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn z14_object_lock_needs_versions_and_keeps_them() {
    let world = World::start().await;
    let lock = |days: &str| {
        format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
             <DefaultRetention><Mode>GOVERNANCE</Mode><Days>{days}</Days></DefaultRetention>\
             </Rule></ObjectLockConfiguration>"
        )
    };
    let conflict = (409, "InvalidBucketState".to_owned());
    assert_eq!(put(&world, "object-lock", &lock("1")).await, conflict);
    assert_eq!(set_versioning(&world, "Suspended").await, done());
    assert_eq!(put(&world, "object-lock", &lock("1")).await, conflict);
    assert_eq!(set_versioning(&world, "Enabled").await, done());
    assert_eq!(put(&world, "object-lock", &lock("0")).await, refused("InvalidRetentionPeriod"));
    let missing_lock = missing("ObjectLockConfigurationNotFoundError");
    assert_eq!(get(&world, "object-lock").await, missing_lock);
    assert_eq!(put(&world, "object-lock", &lock("1")).await, done());
    assert_eq!(set_versioning(&world, "Suspended").await, conflict);
    assert!(shown(&world, "", "versioning").await.contains("<Status>Enabled</Status>"));

    world.put("k", b"kept").await;
    let on = |name: &'static str, document: String| {
        let world = &world;
        async move { outcome(send(world, Method::PUT, "k", &[(name, "")], &document).await).await }
    };
    let retain = |mode: &str, year: u16| {
        format!(
            "<Retention><Mode>{mode}</Mode>\
             <RetainUntilDate>{year}-01-01T00:00:00Z</RetainUntilDate></Retention>"
        )
    };
    assert!(shown(&world, "k", "retention").await.contains("<Mode>GOVERNANCE</Mode>"));
    let denied = (403, "AccessDenied".to_owned());
    assert_eq!(on("retention", retain("COMPLIANCE", 2090)).await, denied);
    assert_eq!(on("retention", retain("GOVERNANCE", 2090)).await, done());
    assert_eq!(on("retention", retain("GOVERNANCE", 2080)).await, denied);
    assert_eq!(on("retention", retain("compliance", 2099)).await, refused("MalformedXML"));
    assert_eq!(on("retention", retain("COMPLIANCE", 2001)).await, refused("InvalidArgument"));
    let hold = |status: &str| format!("<LegalHold><Status>{status}</Status></LegalHold>");
    assert_eq!(on("legal-hold", hold("on")).await, refused("MalformedXML"));
    assert_eq!(on("legal-hold", hold("ON")).await, done());
    assert!(shown(&world, "k", "legal-hold").await.contains("<Status>ON</Status>"));
    let kept = shown(&world, "k", "retention").await;
    assert!(kept.contains("2090-01-01"), "{kept}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_an_object_are_those_of_a_version() {
    let world = World::start().await;
    assert_eq!(set_versioning(&world, "Enabled").await, done());
    world.put("k", b"old").await;
    let old = world.s3.head(BUCKET, "k").await.unwrap();
    let old = old.header("x-amz-version-id").unwrap().to_owned();
    world.put("k", b"new").await;
    let tags = |value: &str| {
        format!("<Tagging><TagSet><Tag><Key>k</Key><Value>{value}</Value></Tag></TagSet></Tagging>")
    };
    let of_old = [("tagging", ""), ("versionId", old.as_str())];
    let answer = send(&world, Method::PUT, "k", &of_old, &tags("old")).await;
    assert_eq!(answer.header("x-amz-version-id"), Some(old.as_str()));
    assert_eq!(outcome(answer).await, done());
    assert!(!shown(&world, "k", "tagging").await.contains("<Tag>"));
    let answer = text(send(&world, Method::GET, "k", &of_old, "").await).await;
    assert!(answer.contains("<Value>old</Value>"), "{answer}");
    let unknown = [("tagging", ""), ("versionId", "00000000000000990000000000000000")];
    let answer = send(&world, Method::PUT, "k", &unknown, &tags("x")).await;
    assert_eq!(outcome(answer).await, missing("NoSuchVersion"));
    assert_eq!(outcome(send(&world, Method::DELETE, "k", &of_old, "").await).await, removed());
    let answer = text(send(&world, Method::GET, "k", &of_old, "").await).await;
    assert!(!answer.contains("<Tag>"), "{answer}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acls_are_shown_as_they_were_set_and_mean_nothing_where_they_are_off() {
    let world = World::start().await;
    world.put("k", b"bytes").await;
    let canned = |key: &'static str, name: &'static str| {
        let request = request(Method::PUT, key, &[("acl", "")], &[("x-amz-acl", name)]);
        async { outcome(world.s3.send(request).await.unwrap()).await }
    };
    let all = "http://acs.amazonaws.com/groups/global/AllUsers";
    for key in ["", "k"] {
        assert!(!shown(&world, key, "acl").await.contains(all));
        assert_eq!(canned(key, "public-read").await, done());
        assert!(shown(&world, key, "acl").await.contains(all));
        assert_eq!(canned(key, "nobody").await, refused("InvalidArgument"));
        assert!(shown(&world, key, "acl").await.contains(all));
    }
    let enforced = KEPT.last().unwrap().2;
    let suits = refused("InvalidBucketAclWithObjectOwnership");
    assert_eq!(put(&world, "ownershipControls", enforced).await, suits);
    assert_eq!(canned("", "private").await, done());
    assert_eq!(put(&world, "ownershipControls", enforced).await, done());
    for key in ["", "k"] {
        let off = refused("AccessControlListNotSupported");
        assert_eq!(canned(key, "public-read").await, off, "{key}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_tells_its_attributes_and_pages_through_its_parts() {
    let world = World::start().await;
    let s3 = &world.s3;
    let upload = s3.create_multipart(BUCKET, "k").await.unwrap();
    let part = sample(5 << 20, 1);
    let mut parts = Vec::new();
    for number in 1..=2 {
        let sent = s3.upload_part(BUCKET, "k", &upload, number, part.clone()).await;
        parts.push((number, sent.unwrap()));
    }
    s3.complete_multipart(BUCKET, "k", &upload, &parts).await.unwrap();
    let ask = |key: &'static str, more: &[(&'static str, &str)]| {
        let all = "ETag,ObjectSize,ObjectParts,StorageClass";
        let headers = [&[("x-amz-object-attributes", all)], more].concat();
        let request = request(Method::GET, key, &[("attributes", "")], &headers);
        async { s3.send(request).await.unwrap() }
    };
    let first = text(ask("k", &[("x-amz-max-parts", "1")]).await).await;
    assert_eq!(element(&first, "ObjectSize"), (10 << 20).to_string());
    assert_eq!(element(&first, "StorageClass"), "STANDARD");
    assert_eq!(element(&first, "IsTruncated"), "true");
    assert_eq!(element(&first, "NextPartNumberMarker"), "1");
    assert!(element(&first, "ETag").ends_with("-2"), "without quotes: {first}");
    let after = [("x-amz-part-number-marker", "1")];
    let rest = text(ask("k", &after).await).await;
    assert_eq!(element(&rest, "PartNumber"), "2");
    assert_eq!(element(&rest, "IsTruncated"), "false");

    world.put("single", b"bytes").await;
    let single = text(ask("single", &[]).await).await;
    assert!(!single.contains("<ObjectParts>"), "{single}");
    assert_eq!(set_versioning(&world, "Enabled").await, done());
    s3.delete(BUCKET, "single").await.unwrap();
    let gone = ask("single", &[]).await;
    assert_eq!(gone.header("x-amz-delete-marker"), Some("true"));
    assert_eq!(outcome(gone).await, missing("NoSuchKey"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_renamed_with_all_that_is_known_of_it_or_stays() {
    let world = World::start().await;
    let bytes = sample(200_000, 7);
    world.put("a b", &bytes).await;
    world.put("there", b"other").await;
    let etag = world.s3.head(BUCKET, "a b").await.unwrap().header("etag").unwrap().to_owned();
    let rename = |to: &'static str, headers: &[(&'static str, &str)]| {
        let request = request(Method::PUT, to, &[("renameObject", "")], headers);
        async { outcome(world.s3.send(request).await.unwrap()).await }
    };
    let from = ("x-amz-rename-source", "/photos/a%20b");
    let failed = (412, "PreconditionFailed".to_owned());
    assert_eq!(rename("there", &[from, ("if-none-match", "*")]).await, failed);
    let other = ("x-amz-rename-source-if-match", "\"00\"");
    assert_eq!(rename("new", &[from, other]).await, failed);
    let past = ("x-amz-rename-source-if-unmodified-since", "Mon, 01 Jan 2001 00:00:00 GMT");
    assert_eq!(rename("new", &[from, past]).await, failed);
    assert_eq!(rename("new", &[]).await, refused("InvalidArgument"));
    assert_eq!(rename("new", &[("x-amz-rename-source", "no")]).await, missing("NoSuchKey"));
    assert_eq!(world.refusal_of_get("new").await, "NoSuchKey");
    assert!(world.get("a b").await == bytes && world.get("there").await == b"other");

    let same = ("x-amz-rename-source-if-match", etag.as_str());
    assert_eq!(rename("there", &[from, same]).await, done());
    assert!(world.get("there").await == bytes);
    assert_eq!(world.refusal_of_get("a b").await, "NoSuchKey");
    assert_eq!(set_versioning(&world, "Enabled").await, done());
    let plain = ("x-amz-rename-source", "there");
    assert_eq!(rename("new", &[plain]).await, refused("InvalidRequest"));
    assert!(world.get("there").await == bytes);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_archived_so_nothing_is_restored() {
    let world = World::start().await;
    world.put("k", b"bytes").await;
    let asked = "<RestoreRequest><Days>1</Days></RestoreRequest>";
    let restore = |key: &'static str| {
        let answer = send(&world, Method::POST, key, &[("restore", "")], asked);
        async { outcome(answer.await).await }
    };
    assert_eq!(restore("k").await, (403, "InvalidObjectState".to_owned()));
    assert_eq!(restore("none").await, missing("NoSuchKey"));
    let torrent = send(&world, Method::GET, "k", &[("torrent", "")], "").await;
    assert_eq!(outcome(torrent).await.0, 501);
    world.end().await;
}
