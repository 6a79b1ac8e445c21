//! Who is told of what.

use std::collections::BTreeMap;

use protocol::AccountId;
use s3s::dto::{FilterRule, FilterRuleName, QueueConfiguration, S3KeyFilter};

use super::*;
use crate::meta::{BucketConfig, Versioning};
use crate::webhook::{Options, Webhook};

fn filter(rules: &[(&str, &str)]) -> NotificationConfigurationFilter {
    let rule = |(name, value): &(&str, &str)| FilterRule {
        name: Some(FilterRuleName::from((*name).to_owned())),
        value: Some((*value).to_owned()),
    };
    let filter_rules = Some(rules.iter().map(rule).collect());
    NotificationConfigurationFilter { key: Some(S3KeyFilter { filter_rules }) }
}

fn config(target: &str, events: &[&str], rules: &[(&str, &str)]) -> NotificationConfiguration {
    let queue = QueueConfiguration {
        events: events.iter().map(|event| (*event).to_owned().into()).collect(),
        filter: Some(filter(rules)),
        id: Some("one".into()),
        queue_arn: target.into(),
    };
    NotificationConfiguration { queue_configurations: Some(vec![queue]), ..Default::default() }
}

fn bucket(config: NotificationConfiguration) -> Bucket {
    Bucket {
        id: 1,
        name: "photos".into(),
        account: AccountId([1; 16]),
        wrapped_key: vec![],
        created_ms: 0,
        versioning: Versioning::Enabled,
        config: Arc::new(BucketConfig { notification: Some(config), ..BucketConfig::default() }),
    }
}

#[test]
fn patterns_name_events_and_groups_of_them() {
    let names = |pattern: &str| Name::ALL.into_iter().filter(|name| name.matches(pattern)).count();
    assert_eq!(names("s3:ObjectCreated:*"), 4);
    assert_eq!(names("s3:ObjectCreated:Put"), 1);
    assert_eq!(names("s3:ObjectRemoved:*"), 2);
    assert_eq!(names("s3:LifecycleExpiration:*"), 2);
    assert_eq!(names("s3:ObjectTagging:*"), 2);
    assert_eq!(names("s3:*") + names("ObjectCreated:Put") + names("s3:Object"), 0);
}

#[test]
fn a_target_hears_of_keys_that_its_filter_takes() {
    let rules = [("Prefix", "in/"), ("suffix", ".jpg")];
    let bucket = bucket(config("arn", &["s3:ObjectCreated:*"], &rules));
    let heard = |key: &str, name| {
        let origin = Origin::of_request("r", &bucket, key.as_bytes(), "", None);
        drafts(&bucket, &origin, &[name]).len()
    };
    assert_eq!(heard("in/a.jpg", Name::Put), 1);
    assert_eq!(heard("in/a.jpg", Name::Copy), 1);
    assert_eq!(heard("in/a.jpg", Name::Delete), 0);
    assert_eq!(heard("in/a.png", Name::Put) + heard("a.jpg", Name::Put), 0);
}

#[test]
fn a_record_has_the_format_of_s3() {
    let bucket = bucket(config("arn", &["s3:ObjectCreated:*"], &[]));
    let address = Some("192.0.2.1".parse().unwrap());
    let origin = Origin::of_request("us-east-1", &bucket, "a b/ü".as_bytes(), "who", address);
    let draft = drafts(&bucket, &origin, &[Name::Put]).pop().unwrap();
    let happened = Happened {
        at: 1_549_411_238_007,
        seq: 26,
        version_id: Some("v".into()),
        object: Some((5, "e".into())),
    };
    let told: serde_json::Value = serde_json::from_str(&draft.complete(&happened)).unwrap();
    let record = &told["Records"][0];
    assert_eq!(record["eventVersion"], "2.1");
    assert_eq!(record["eventSource"], "aws:s3");
    assert_eq!(record["eventTime"], "2019-02-06T00:00:38.007Z");
    assert_eq!(record["eventName"], "ObjectCreated:Put");
    assert_eq!(record["userIdentity"]["principalId"], "who");
    assert_eq!(record["requestParameters"]["sourceIPAddress"], "192.0.2.1");
    assert_eq!(record["s3"]["configurationId"], "one");
    assert_eq!(record["s3"]["bucket"]["arn"], "arn:aws:s3:::photos");
    let object = json!({
        "key": "a+b/%C3%BC",
        "size": 5,
        "eTag": "e",
        "versionId": "v",
        "sequencer": "000000000000001A",
    });
    assert_eq!(record["s3"]["object"], object);
}

#[test]
fn b03_only_webhooks_of_the_operator_are_targets() {
    let hook = Webhook::parse("http://192.0.2.1/", Options::default()).unwrap();
    let webhooks = BTreeMap::from([("hook".to_owned(), hook)]);
    let code = |mut config: NotificationConfiguration| {
        let checked = check::check(&mut config, &webhooks);
        checked.err().map(|error| error.code().as_str().to_owned()).unwrap_or_default()
    };
    let arn = "arn:stratos:webhook:::hook";
    let created = ["s3:ObjectCreated:*"];
    assert_eq!(code(config(arn, &created, &[("prefix", "a"), ("suffix", "b")])), "");
    assert_eq!(code(config(arn, &["s3:Replication:*"], &[])), "");
    for (target, events, rules) in [
        ("arn:stratos:webhook:::other", &created, &[][..]),
        ("arn:aws:sqs:us-east-1:1:hook", &created, &[]),
        ("http://192.0.2.1/", &created, &[]),
        (arn, &["s3:ObjectInvented:*"], &[]),
        (arn, &created, &[("infix", "a")]),
        (arn, &created, &[("prefix", "a"), ("Prefix", "b")]),
    ] {
        assert_eq!(code(config(target, events, rules)), "InvalidArgument", "{target} {events:?}");
    }
    assert_eq!(code(config(arn, &[], &[])), "InvalidArgument");
}
