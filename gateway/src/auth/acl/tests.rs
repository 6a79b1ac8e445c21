use super::*;

const ANN: &str = "ann-id";
const BOB: &str = "bob-id";

fn resolve(named: NamedGrantee<'_>) -> Option<String> {
    match named {
        NamedGrantee::Id(ANN) | NamedGrantee::Email("ann@example.com") => Some(ANN.to_owned()),
        NamedGrantee::Id(BOB) | NamedGrantee::Email("bob@example.com") => Some(BOB.to_owned()),
        _ => None,
    }
}

fn canonical(id: &str, permission: Permission) -> Grant {
    grant(Grantee::Canonical(id.to_owned()), permission)
}

fn canned(name: &str) -> AclRequest {
    AclRequest::Canned(CannedAcl::parse(name).unwrap())
}

#[track_caller]
fn check_canned(name: &str, bucket: Vec<Grant>, others_object: Option<Vec<Grant>>) {
    assert_eq!(canned(name).for_bucket(ANN).unwrap().grants, bucket, "{name} of a bucket");
    let object = canned(name).for_object(BOB, ANN).ok().map(|acl| acl.grants);
    assert_eq!(object, others_object, "{name} of an object in another's bucket");
}

#[test]
fn canned_acls_say_what_their_names_say() {
    use Permission::{FullControl, Read, ReadAcp, Write};
    let (ann, bob) = (canonical(ANN, FullControl), canonical(BOB, FullControl));
    let with = |first: &[Grant], last: &Grant| [first, std::slice::from_ref(last)].concat();

    for name in ["private", "aws-exec-read"] {
        check_canned(name, vec![ann.clone()], Some(vec![bob.clone()]));
    }
    let read = [grant(Grantee::AllUsers, Read)];
    check_canned("public-read", with(&read, &ann), Some(with(&read, &bob)));
    let write = [grant(Grantee::AllUsers, Read), grant(Grantee::AllUsers, Write)];
    check_canned("public-read-write", with(&write, &ann), Some(with(&write, &bob)));
    let signed = [grant(Grantee::AuthenticatedUsers, Read)];
    check_canned("authenticated-read", with(&signed, &ann), Some(with(&signed, &bob)));
    let logs = [grant(Grantee::LogDelivery, Write), grant(Grantee::LogDelivery, ReadAcp)];
    check_canned("log-delivery-write", with(&logs, &ann), None);
    let owner_reads = vec![bob.clone(), canonical(ANN, Read)];
    check_canned("bucket-owner-read", vec![ann.clone()], Some(owner_reads));
    let owner_controls = vec![bob, ann.clone()];
    check_canned("bucket-owner-full-control", vec![ann.clone()], Some(owner_controls));

    let own = canned("bucket-owner-full-control").for_object(ANN, ANN).unwrap();
    assert_eq!(own.grants, [ann]);
    assert_eq!(AclRequest::None.for_object(BOB, ANN).unwrap(), Acl::private(BOB));
    assert!(CannedAcl::parse("Private").is_err());
}

#[test]
fn headers_grant_in_their_order_with_quotes_or_without() {
    let header =
        format!(r#"id="{ANN}" , emailAddress="bob@example.com",uri="{ALL_USERS}", id={BOB}"#,);
    let request = AclRequest::from_headers(
        None,
        [(Permission::Read, header.as_str()), (Permission::FullControl, "id=ann-id")],
        resolve,
    );
    let grants = vec![
        canonical(ANN, Permission::Read),
        canonical(BOB, Permission::Read),
        grant(Grantee::AllUsers, Permission::Read),
        canonical(BOB, Permission::Read),
        canonical(ANN, Permission::FullControl),
    ];
    assert_eq!(request, Ok(AclRequest::Grants(grants)));
    // Nothing is added, not even for the owner; groups come first.
    let acl = request.unwrap().for_bucket(BOB).unwrap();
    assert_eq!(acl.owner, BOB);
    assert_eq!(acl.grants.len(), 5);
    assert_eq!(acl.grants[0].grantee, Grantee::AllUsers);
}

#[test]
fn headers_that_grant_to_nobody_are_refused() {
    #[track_caller]
    fn check(header: &str, want: &AclError) {
        let read = AclRequest::from_headers(None, [(Permission::Read, header)], resolve);
        assert_eq!(read.as_ref().err(), Some(want), "{header}");
    }
    let format = AclError::Invalid("Argument format not recognized".to_owned());
    for header in ["", ",", "ann-id", "id=", "id=\"\"", "id=\"ann-id", "id=a\"b\"", "name=x"] {
        check(header, &format);
    }
    check("id=ann-id,", &format);
    check("id=nobody", &AclError::Invalid("Invalid id".to_owned()));
    check("uri=http://example.com", &AclError::Invalid("Invalid group uri".to_owned()));
    check("emailAddress=\"nobody@example.com\"", &AclError::UnknownEmail);
    check(&["id=ann-id"; 101].join(","), &AclError::TooMany(101));

    let both =
        AclRequest::from_headers(Some("private"), [(Permission::Read, "id=ann-id")], resolve);
    assert_eq!(both, Err(AclError::CannedAndGrants));
    let many = Acl::new(ANN, vec![canonical(BOB, Permission::Read); 101]);
    assert_eq!(many, Err(AclError::TooMany(101)));
}

#[test]
fn z11_grants_are_for_whom_they_name() {
    use Permission::{Read, ReadAcp, Write};
    let (ann, bob) = (Asker::Account(ANN), Asker::Account(BOB));
    let acl = canned("authenticated-read").for_bucket(ANN).unwrap();
    assert!(acl.allows(ann, Write, false));
    assert!(acl.allows(bob, Read, false));
    assert!(!acl.allows(bob, Write, false));
    assert!(!acl.allows(Asker::Anonymous, Read, false));
    assert!(!acl.allows(Asker::LogDelivery, Read, false));
    assert!(!acl.allows(bob, Read, true), "public grants are ignored");

    let public = canned("public-read").for_bucket(ANN).unwrap();
    assert!(public.allows(Asker::Anonymous, Read, false));
    assert!(!public.allows(Asker::Anonymous, Read, true));
    assert!(!public.allows(Asker::Anonymous, ReadAcp, false));
    assert!(public.is_public() && acl.is_public() && !Acl::private(ANN).is_public());

    let logs = canned("log-delivery-write").for_bucket(ANN).unwrap();
    assert!(logs.allows(Asker::LogDelivery, Write, true));
    assert!(!logs.is_public() && !logs.is_private() && Acl::private(ANN).is_private());

    let empty = Acl::new(ANN, Vec::new()).unwrap();
    assert!(Permission::ALL.iter().all(|permission| !empty.allows(ann, *permission, false)));
    // An empty id is nobody's.
    assert!(!Acl::private("").allows(Asker::Anonymous, Read, false));
}

#[test]
fn an_acl_keeps_its_form_in_json() {
    let acl = canned("public-read").for_bucket(ANN).unwrap();
    let json = r#"{"owner":"ann-id","grants":[{"grantee":"AllUsers","permission":"Read"},{"grantee":{"Canonical":"ann-id"},"permission":"FullControl"}]}"#;
    assert_eq!(serde_json::to_string(&acl).unwrap(), json);
    assert_eq!(serde_json::from_str::<Acl>(json).unwrap(), acl);
    for permission in Permission::ALL {
        assert_eq!(Permission::parse(permission.as_str()), Some(permission));
    }
}
