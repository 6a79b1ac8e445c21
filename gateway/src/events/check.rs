//! Whether a notification configuration may be set. Pure.

use std::collections::BTreeMap;

use s3s::dto::{NotificationConfiguration, NotificationConfigurationFilter};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::{Name, Subscription, WEBHOOK_ARN, subscriptions};
use crate::error::{not_implemented, refuse};
use crate::webhook::Webhook;

/// Targets in one configuration.
const TARGETS_MAX: usize = 100;

/// Events that S3 has and that never happen here: asking for them is no error.
const NEVER: &[&str] = &[
    "s3:ReducedRedundancyLostObject",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Post",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:Replication:*",
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationNotTracked",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationReplicatedAfterThreshold",
    "s3:LifecycleTransition",
    "s3:IntelligentTiering",
];

fn invalid(message: &'static str) -> S3Error {
    refuse(S3ErrorCode::InvalidArgument, message)
}

/// Checks a configuration as it came, and gives ids to targets that have none.
/// A target is a webhook that the operator has named.
pub fn check(
    config: &mut NotificationConfiguration,
    webhooks: &BTreeMap<String, Webhook>,
) -> S3Result<()> {
    if config.event_bridge_configuration.is_some() {
        return Err(not_implemented("EventBridge"));
    }
    let queues = config.queue_configurations.iter_mut().flatten().map(|one| &mut one.id);
    let topics = config.topic_configurations.iter_mut().flatten().map(|one| &mut one.id);
    let functions = config.lambda_function_configurations.iter_mut().flatten();
    for id in queues.chain(topics).chain(functions.map(|one| &mut one.id)) {
        if id.as_ref().is_none_or(String::is_empty) {
            *id = Some(hex::encode(protocol::keys::random::<16>()));
        }
    }
    if subscriptions(config).count() > TARGETS_MAX {
        return Err(invalid("A notification configuration may have 100 targets at most."));
    }
    let mut ids: Vec<_> = subscriptions(config).filter_map(|one| one.id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(invalid("Configuration ids must be unique."));
    }
    subscriptions(config).try_for_each(|one| check_one(one, webhooks))
}

fn check_one(one: Subscription<'_>, webhooks: &BTreeMap<String, Webhook>) -> S3Result<()> {
    let name = one.target.strip_prefix(WEBHOOK_ARN);
    if !name.is_some_and(|name| webhooks.contains_key(name)) {
        return Err(invalid(
            "Unable to validate the following destination configurations: a target is \
             arn:stratos:webhook:::NAME, where NAME is a webhook in the gateway's configuration.",
        ));
    }
    if one.events.is_empty() {
        return Err(invalid("A target must have at least one event."));
    }
    let known = |pattern: &str| {
        NEVER.contains(&pattern) || Name::ALL.iter().any(|name| name.matches(pattern))
    };
    if !one.events.iter().all(|event| known(event.as_ref())) {
        return Err(invalid("The event is not supported for notifications"));
    }
    check_filter(one.filter)
}

fn check_filter(filter: Option<&NotificationConfigurationFilter>) -> S3Result<()> {
    let rules = filter.and_then(|filter| filter.key.as_ref()?.filter_rules.as_ref());
    let mut names = Vec::new();
    for rule in rules.into_iter().flatten() {
        let name = rule.name.as_ref().map(|name| name.as_str().to_ascii_lowercase());
        match name.as_deref() {
            Some("prefix" | "suffix") if !names.contains(&name) => names.push(name),
            Some("prefix" | "suffix") => {
                return Err(invalid(
                    "Cannot specify more than one prefix or suffix rule in a filter.",
                ));
            }
            _ => return Err(invalid("filter rule name must be either prefix or suffix")),
        }
        if rule.value.as_ref().is_some_and(|value| value.len() > 1024) {
            return Err(invalid("Size of filter rule value cannot exceed 1024 bytes"));
        }
    }
    Ok(())
}
