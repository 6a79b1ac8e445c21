//! Policies: documents that say who may do what.
//!
//! [`Policy`] is parsed once and checked on the way; what cannot be understood
//! is refused, so evaluation has no errors. [`Policy::evaluate`] gives the vote
//! of one document; what the votes of several documents and ACLs add up to is
//! decided in `auth::authorize`.
//!
//! Not here: which conditions a request meets (`auth::request_context`).
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

mod condition;
mod context;
mod glob;
mod json;
mod operand;
mod parse;
mod pattern;
mod principal;
mod public;

#[cfg(test)]
mod tests;

use self::condition::Condition;
pub use self::context::Context;
use self::pattern::Pattern;
pub use self::principal::Principal;
use self::principal::PrincipalPattern;

/// What a policy may weigh, in bytes.
pub const POLICY_MAX: usize = 20 * 1024;

/// A policy, checked and ready to be asked.
#[derive(Clone, Debug)]
pub struct Policy {
    statements: Vec<Statement>,
}

/// Why a policy is refused, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(pub String);

/// What somebody wants to do.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// For example `s3:GetObject`.
    pub action: &'a str,
    /// The whole ARN: `arn:aws:s3:::bucket`, or that with `/` and the full key.
    pub resource: &'a str,
    /// Who wants it.
    pub principal: Principal<'a>,
    /// What else is known of the request.
    pub context: &'a Context,
}

/// What a policy says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it and none denies it.
    Allow,
    /// A statement denies it.
    Deny,
    /// No statement is about it.
    NoMatch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// What a statement is about: these, or all but these.
#[derive(Clone, Debug)]
struct Listed<T> {
    all_but: bool,
    items: Vec<T>,
}

#[derive(Clone, Debug)]
struct Statement {
    effect: Effect,
    /// `None` in the policies of keys, which are about their holder.
    principals: Option<Listed<PrincipalPattern>>,
    actions: Listed<Pattern>,
    resources: Listed<Pattern>,
    conditions: Vec<Condition>,
}

impl Policy {
    /// The policy of an access key or session: about its holder.
    pub fn parse_identity(json: &str) -> Result<Self, PolicyError> {
        parse::policy(json, parse::Kind::Identity)
    }

    /// The policy of a bucket: says whom it is about, and is about this bucket.
    pub fn parse_bucket(json: &str, bucket: &str) -> Result<Self, PolicyError> {
        parse::policy(json, parse::Kind::Bucket(bucket))
    }

    /// A policy that denies everything to everybody.
    pub fn deny_all() -> Self {
        let statement = Statement {
            effect: Effect::Deny,
            principals: None,
            actions: Listed { all_but: true, items: Vec::new() },
            resources: Listed { all_but: true, items: Vec::new() },
            conditions: Vec::new(),
        };
        Self { statements: vec![statement] }
    }

    /// What it says to the request. A denial wins over what allows.
    pub fn evaluate(&self, request: &Request<'_>) -> Decision {
        let mut decision = Decision::NoMatch;
        for statement in &self.statements {
            match statement.effect {
                // Whether a second statement also allows does not matter.
                Effect::Allow if decision == Decision::Allow => {}
                Effect::Allow if statement.is_about(request) => decision = Decision::Allow,
                Effect::Deny if statement.is_about(request) => return Decision::Deny,
                Effect::Allow | Effect::Deny => {}
            }
        }
        decision
    }

    /// Whether it lets in people whom nobody chose.
    pub fn is_public(&self) -> bool {
        self.statements.iter().any(public::is_public)
    }
}

impl Statement {
    fn is_about(&self, request: &Request<'_>) -> bool {
        let Request { action, resource, principal, context } = *request;
        // A variable without a value must not widen what is allowed: where
        // values are excluded, it counts as excluded.
        let doubt = self.effect == Effect::Allow;
        let fits = |pattern: &Pattern, text: &str, all_but: bool| {
            pattern.matches(text, context).unwrap_or(all_but && doubt)
        };
        self.actions.covers(|pattern, all_but| fits(pattern, action, all_but))
            && self.resources.covers(|pattern, all_but| fits(pattern, resource, all_but))
            && self
                .principals
                .as_ref()
                .is_none_or(|listed| listed.covers(|pattern, _| pattern.matches(principal)))
            && self.conditions.iter().all(|condition| condition.holds(context, doubt))
    }
}

impl<T> Listed<T> {
    fn covers(&self, fits: impl Fn(&T, bool) -> bool) -> bool {
        self.items.iter().any(|item| fits(item, self.all_but)) != self.all_but
    }
}
