//! Whether a statement lets in people whom nobody chose.
//!
//! It does if it allows something to everybody, unless a condition pins down who
//! or where they are with values that leave nothing open.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status>

use super::condition::{Condition, Operands, Quantifier};
use super::{Effect, Statement};

/// Keys that say who somebody is, or where, in lower case.
const PINNING: &[&str] = &[
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
];

pub(super) fn is_public(statement: &Statement) -> bool {
    let anybody = statement.principals.as_ref().is_some_and(|listed| {
        listed.all_but || listed.items.iter().any(|principal| principal.is_anybody())
    });
    statement.effect == Effect::Allow && anybody && !statement.conditions.iter().any(pins_down)
}

/// Whether a condition leaves only somebody in particular.
fn pins_down(condition: &Condition) -> bool {
    // These are met by requests that say nothing of the key.
    if condition.negated || condition.if_exists || condition.quantifier == Quantifier::All {
        return false;
    }
    let named = PINNING.contains(&condition.key.as_str());
    match &condition.operands {
        Operands::Text { written, wildcards, .. } => {
            named && written.iter().all(|text| is_fixed(text, *wildcards))
        }
        Operands::Arn { written, .. } => named && written.iter().all(|text| is_fixed(text, true)),
        Operands::Address(networks) => {
            condition.key == "aws:sourceip" && !networks.iter().any(|network| network.is_broad())
        }
        _ => false,
    }
}

/// Whether a text stands for itself alone.
fn is_fixed(text: &str, wildcards: bool) -> bool {
    !(text.contains("${") || wildcards && text.contains(['*', '?']))
}
