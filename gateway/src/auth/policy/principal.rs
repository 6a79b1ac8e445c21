//! Who a request is from, and whom a statement is about.
//!
//! An account has no users of its own here, so `user/NAME` means the account
//! NAME. What names something that this gateway does not have (roles, federated
//! users) is accepted and is nobody.

use super::PolicyError;
use super::json::Json;

/// Who a request is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal<'a> {
    /// Nobody signed.
    Anonymous,
    /// An account.
    Account {
        /// Its S3 canonical user id.
        canonical_id: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// The gateway itself, on behalf of one of its services, for example
    /// `logging.s3.amazonaws.com`.
    Service(&'a str),
}

/// Whom a statement names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PrincipalPattern {
    /// `"*"`.
    Everything,
    /// `{"AWS": "*"}`: everybody, but no service.
    Everybody,
    /// An account, named by each of these texts.
    Account(Vec<Named>),
    Service(String),
    /// Somebody whom this gateway does not know.
    Nobody,
}

/// How an account is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// By its canonical user id.
    Id(String),
    /// By its name.
    Name(String),
}

impl Named {
    /// What looks like a canonical user id is one, so that nobody can take
    /// another's place by choosing a name.
    fn new(text: &str) -> Self {
        let hex = |c: char| c.is_ascii_digit() || matches!(c, 'a'..='f');
        if text.len() == 64 && text.chars().all(hex) {
            Self::Id(text.to_owned())
        } else {
            Self::Name(text.to_owned())
        }
    }

    fn is(&self, id: &str, own_name: &str) -> bool {
        match self {
            Self::Id(wanted) => wanted == id,
            Self::Name(wanted) => wanted == own_name,
        }
    }
}

impl PrincipalPattern {
    pub fn matches(&self, principal: Principal<'_>) -> bool {
        match (self, principal) {
            (Self::Everything, _) => true,
            (Self::Everybody, Principal::Anonymous | Principal::Account { .. }) => true,
            (Self::Account(named), Principal::Account { canonical_id, name }) => {
                named.iter().all(|named| named.is(canonical_id, name))
            }
            (Self::Service(wanted), Principal::Service(name)) => wanted == name,
            _ => false,
        }
    }

    /// Whether it is about people whom nobody chose.
    pub fn is_anybody(&self) -> bool {
        matches!(self, Self::Everything | Self::Everybody)
    }
}

/// The value of `Principal` or `NotPrincipal`.
pub(super) fn parse(value: &Json) -> Result<Vec<PrincipalPattern>, PolicyError> {
    let kinds = match value {
        Json::Text(text) if text == "*" => return Ok(vec![PrincipalPattern::Everything]),
        Json::Object(kinds) if !kinds.is_empty() => kinds,
        _ => return Err(PolicyError("A principal must be \"*\" or an object.".to_owned())),
    };
    let mut patterns = Vec::new();
    for (kind, names) in kinds {
        let parse: fn(&str) -> Result<PrincipalPattern, PolicyError> = match kind.as_str() {
            "AWS" => aws,
            "CanonicalUser" => canonical_user,
            "Service" => service,
            "Federated" => |_| Ok(PrincipalPattern::Nobody),
            _ => return Err(PolicyError(format!("There are no principals of type {kind:?}."))),
        };
        for name in super::parse::texts("Principal", names)? {
            patterns.push(parse(name)?);
        }
    }
    Ok(patterns)
}

fn invalid(name: &str) -> PolicyError {
    PolicyError(format!("The policy has an invalid principal: {name:?}."))
}

/// No part of a name may be left open.
fn checked(name: &str) -> Result<&str, PolicyError> {
    let wild = |c: char| matches!(c, '*' | '?' | ':') || c.is_control();
    if name.is_empty() || name.contains(wild) { Err(invalid(name)) } else { Ok(name) }
}

fn canonical_user(id: &str) -> Result<PrincipalPattern, PolicyError> {
    Ok(PrincipalPattern::Account(vec![Named::Id(checked(id)?.to_owned())]))
}

fn service(name: &str) -> Result<PrincipalPattern, PolicyError> {
    Ok(PrincipalPattern::Service(checked(name)?.to_owned()))
}

/// `*`, an account's id or name, or an ARN.
fn aws(name: &str) -> Result<PrincipalPattern, PolicyError> {
    if name == "*" {
        return Ok(PrincipalPattern::Everybody);
    }
    let Some(arn) = name.strip_prefix("arn:") else {
        return Ok(PrincipalPattern::Account(vec![Named::new(checked(name)?)]));
    };
    let parts: Vec<&str> = arn.split(':').collect();
    let ["aws", service @ ("iam" | "sts"), "", account, who] = parts[..] else {
        return Err(invalid(name));
    };
    if !account.is_empty() {
        checked(account)?;
    }
    checked(who)?;
    match (service, who.split_once('/')) {
        ("iam", None) if who == "root" && !account.is_empty() => {
            Ok(PrincipalPattern::Account(vec![Named::new(account)]))
        }
        ("iam", Some(("user", user))) => {
            // A user may have a path before its name.
            let user = user.rsplit('/').next().unwrap_or(user);
            let mut named = vec![Named::new(checked(user)?)];
            if !account.is_empty() {
                named.push(Named::new(account));
            }
            Ok(PrincipalPattern::Account(named))
        }
        (_, Some((_, rest))) if !rest.is_empty() => Ok(PrincipalPattern::Nobody),
        _ => Err(invalid(name)),
    }
}
