//! From JSON to a checked policy. What is not understood is refused: a policy
//! that is half understood would allow or deny what nobody wrote.

use std::collections::BTreeMap;

use super::condition::{Condition, Operator};
use super::glob::Glob;
use super::json::Json;
use super::pattern::{Pattern, Syntax, Token, tokens};
use super::principal::PrincipalPattern;
use super::{Effect, Listed, POLICY_MAX, Policy, PolicyError, Statement, principal};

/// What all ARNs of buckets and objects begin with.
const ARN: &str = "arn:aws:s3:::";

/// The version of the language that knows variables.
const VERSION: &str = "2012-10-17";
const VERSION_BEFORE: &str = "2008-10-17";

/// Whose policy it is.
#[derive(Clone, Copy)]
pub(super) enum Kind<'a> {
    /// A key's or a session's.
    Identity,
    /// That of this bucket.
    Bucket(&'a str),
}

type Members = BTreeMap<String, Json>;

fn error<T>(sentence: impl Into<String>) -> Result<T, PolicyError> {
    Err(PolicyError(sentence.into()))
}

pub(super) fn policy(json: &str, kind: Kind<'_>) -> Result<Policy, PolicyError> {
    if json.len() > POLICY_MAX {
        return error(format!("A policy may have {POLICY_MAX} bytes, this has {}.", json.len()));
    }
    let json: Json = serde_json::from_str(json)
        .map_err(|error| PolicyError(format!("This policy is not valid JSON: {error}.")))?;
    let Json::Object(document) = &json else { return error("A policy must be an object.") };
    known_elements(document, &["Version", "Id", "Statement"])?;
    if !matches!(document.get("Id"), None | Some(Json::Text(_))) {
        return error("The Id of a policy must be a string.");
    }
    let variables = match document.get("Version") {
        Some(Json::Text(version)) if version == VERSION => true,
        Some(Json::Text(version)) if version == VERSION_BEFORE => false,
        None => false,
        Some(_) => {
            return error(format!("The Version of a policy is {VERSION} or {VERSION_BEFORE}."));
        }
    };
    let statements = match document.get("Statement") {
        Some(Json::List(statements)) if !statements.is_empty() => statements.as_slice(),
        Some(statement @ Json::Object(_)) => std::slice::from_ref(statement),
        _ => return error("A policy must have a Statement."),
    };
    let statements = statements.iter().map(|json| statement(json, kind, variables));
    Ok(Policy { statements: statements.collect::<Result<_, _>>()? })
}

fn statement(json: &Json, kind: Kind<'_>, variables: bool) -> Result<Statement, PolicyError> {
    let Json::Object(members) = json else { return error("A Statement must be an object.") };
    known_elements(
        members,
        &[
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ],
    )?;
    if !matches!(members.get("Sid"), None | Some(Json::Text(_))) {
        return error("A Sid must be a string.");
    }
    let effect = match members.get("Effect") {
        Some(Json::Text(effect)) if effect == "Allow" => Effect::Allow,
        Some(Json::Text(effect)) if effect == "Deny" => Effect::Deny,
        _ => return error("The Effect of a statement must be Allow or Deny."),
    };
    Ok(Statement {
        effect,
        principals: principals(members, kind, effect)?,
        actions: listed(members, "Action", "NotAction", |text| action(text, kind))?,
        resources: listed(members, "Resource", "NotResource", |text| {
            resource(text, kind, variables)
        })?,
        conditions: conditions(members.get("Condition"), variables)?,
    })
}

fn known_elements(members: &Members, known: &[&str]) -> Result<(), PolicyError> {
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => error(format!("A policy has no element {name:?} here.")),
        None => Ok(()),
    }
}

/// Exactly one of two elements.
fn either<'a>(
    members: &'a Members,
    these: &str,
    all_but: &str,
) -> Result<(bool, &'a Json), PolicyError> {
    match (members.get(these), members.get(all_but)) {
        (Some(value), None) => Ok((false, value)),
        (None, Some(value)) => Ok((true, value)),
        (None, None) => error(format!("A statement must have {these} or {all_but}.")),
        (Some(_), Some(_)) => error(format!("A statement may not have {these} and {all_but}.")),
    }
}

/// A string or a list of some.
pub(super) fn texts<'a>(element: &str, value: &'a Json) -> Result<Vec<&'a str>, PolicyError> {
    let values = match value {
        Json::List(values) if !values.is_empty() => values.as_slice(),
        value => std::slice::from_ref(value),
    };
    let text = |value: &'a Json| match value {
        Json::Text(text) => Ok(text.as_str()),
        _ => error(format!("{element} must be a string or a list of strings, and not empty.")),
    };
    values.iter().map(text).collect()
}

fn listed(
    members: &Members,
    these: &str,
    all_but: &str,
    parse: impl Fn(&str) -> Result<Pattern, PolicyError>,
) -> Result<Listed<Pattern>, PolicyError> {
    let (all_but, value) = either(members, these, all_but)?;
    let items = texts(these, value)?.into_iter().map(parse).collect::<Result<_, _>>()?;
    Ok(Listed { all_but, items })
}

fn principals(
    members: &Members,
    kind: Kind<'_>,
    effect: Effect,
) -> Result<Option<Listed<PrincipalPattern>>, PolicyError> {
    if let Kind::Identity = kind {
        return match members.keys().find(|name| name.ends_with("Principal")) {
            Some(name) => error(format!("The policy of a key is about its holder: no {name}.")),
            None => Ok(None),
        };
    }
    let (all_but, value) = either(members, "Principal", "NotPrincipal")?;
    if all_but && effect == Effect::Allow {
        return error("NotPrincipal may not stand with the Effect Allow.");
    }
    Ok(Some(Listed { all_but, items: principal::parse(value)? }))
}

fn action(text: &str, kind: Kind<'_>) -> Result<Pattern, PolicyError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '*' | '?' | '-');
    let valid = match text.split_once(':') {
        None => text == "*",
        Some((service, name)) => {
            let ours = match kind {
                Kind::Bucket(_) => service.eq_ignore_ascii_case("s3"),
                Kind::Identity => !service.is_empty() && service.chars().all(allowed),
            };
            ours && !name.is_empty() && name.chars().all(allowed)
        }
    };
    if !valid {
        return error(format!("The policy has an invalid action: {text:?}."));
    }
    Pattern::parse(text, Syntax { wildcards: true, variables: false, any_case: true })
}

fn resource(text: &str, kind: Kind<'_>, variables: bool) -> Result<Pattern, PolicyError> {
    let invalid = || PolicyError(format!("The policy has an invalid resource: {text:?}."));
    let tokens = tokens(text, Syntax { wildcards: true, variables, any_case: false })?;
    match kind {
        Kind::Identity if text == "*" || text.starts_with("arn:") => {}
        Kind::Identity => return Err(invalid()),
        Kind::Bucket(bucket) => {
            if !text.starts_with(ARN) {
                return Err(invalid());
            }
            // Every character of the beginning is one token.
            let after = &tokens[ARN.len()..];
            let name = after.split(|token| *token == Token::Char('/')).next().unwrap_or(after);
            if !Glob::new(name).matches(bucket) {
                return Err(invalid());
            }
        }
    }
    Ok(Pattern::new(tokens, false))
}

fn conditions(value: Option<&Json>, variables: bool) -> Result<Vec<Condition>, PolicyError> {
    let operators = match value {
        None => return Ok(Vec::new()),
        Some(Json::Object(operators)) => operators,
        Some(_) => return error("A Condition must be an object."),
    };
    let mut conditions = Vec::new();
    for (written, keys) in operators {
        let operator = Operator::parse(written)?;
        let Json::Object(keys) = keys else {
            return error(format!("The conditions of {written} must be an object."));
        };
        if keys.is_empty() {
            return error(format!("{written} has no conditions."));
        }
        for (key, values) in keys {
            if key
                .split_once(':')
                .is_none_or(|(service, name)| service.is_empty() || name.is_empty())
            {
                return error(format!("The policy has an invalid condition key: {key:?}."));
            }
            conditions.push(operator.condition(key, &scalars(key, values)?, variables)?);
        }
    }
    Ok(conditions)
}

/// The values of a condition. Numbers and truth values need no quotes.
fn scalars(key: &str, value: &Json) -> Result<Vec<String>, PolicyError> {
    let values = match value {
        Json::List(values) if !values.is_empty() => values.as_slice(),
        value => std::slice::from_ref(value),
    };
    let scalar = |value: &Json| match value {
        Json::Text(text) | Json::Number(text) => Ok(text.clone()),
        Json::Bool(value) => Ok(value.to_string()),
        _ => error(format!("The values of {key} must be strings, and some.")),
    };
    values.iter().map(scalar).collect()
}
