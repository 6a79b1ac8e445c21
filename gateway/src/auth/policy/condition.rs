//! Conditions: an operator, a key of the context, and values.
//!
//! A key that is absent fails a condition that asks for something and meets one
//! that excludes something; `...IfExists` is met, and `ForAllValues:` too.
//! Quantifiers count the values of the request: each one is tested by itself,
//! and excluding operators exclude value by value.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::operand::{self, ArnPattern, Cidr};
use super::pattern::{Pattern, Syntax};
use super::{Context, PolicyError};

/// One key of one operator.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// In lower case.
    pub key: String,
    pub quantifier: Quantifier,
    pub if_exists: bool,
    /// The operator excludes what its values say.
    pub negated: bool,
    pub operands: Operands,
}

/// How many of the values of a request must pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantifier {
    /// The key is expected to have one value.
    One,
    /// `ForAllValues:`
    All,
    /// `ForAnyValue:`
    Any,
}

/// What the values of a request are compared with. One is enough.
#[derive(Clone, Debug)]
pub(super) enum Operands {
    Text {
        patterns: Vec<Pattern>,
        written: Vec<String>,
        wildcards: bool,
    },
    Arn {
        patterns: Vec<ArnPattern>,
        written: Vec<String>,
    },
    Number(Compare, Vec<f64>),
    Date(Compare, Vec<i128>),
    Bool(Vec<bool>),
    Binary(Vec<Vec<u8>>),
    Address(Vec<Cidr>),
    /// Whether the key must be absent.
    Null(Vec<bool>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Compare {
    fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

impl Condition {
    /// Whether the request meets it. `doubt`: the statement allows something, so
    /// a value that cannot be known counts as one that is excluded.
    pub fn holds(&self, context: &Context, doubt: bool) -> bool {
        let values = context.values(&self.key);
        if let Operands::Null(absent) = &self.operands {
            return absent.contains(&values.is_empty());
        }
        if values.is_empty() {
            return self.if_exists
                || match self.quantifier {
                    Quantifier::All => true,
                    Quantifier::Any => false,
                    Quantifier::One => self.negated,
                };
        }
        let unknown = self.negated && doubt;
        let mut passes = values
            .iter()
            .map(|value| self.operands.matches(value, context, unknown) != self.negated);
        match self.quantifier {
            Quantifier::All => passes.all(|passes| passes),
            Quantifier::Any => passes.any(|passes| passes),
            // More than one value where one is expected: one that is excluded
            // excludes, and one that is asked for is enough.
            Quantifier::One if self.negated => passes.all(|passes| passes),
            Quantifier::One => passes.any(|passes| passes),
        }
    }
}

impl Operands {
    fn matches(&self, value: &str, context: &Context, unknown: bool) -> bool {
        match self {
            Self::Text { patterns, .. } => {
                patterns.iter().any(|pattern| pattern.matches(value, context).unwrap_or(unknown))
            }
            Self::Arn { patterns, .. } => {
                patterns.iter().any(|pattern| pattern.matches(value, context).unwrap_or(unknown))
            }
            Self::Number(compare, wanted) => operand::number(value)
                .is_some_and(|value| wanted.iter().any(|wanted| compare.holds(&value, wanted))),
            Self::Date(compare, wanted) => operand::date(value)
                .is_some_and(|value| wanted.iter().any(|wanted| compare.holds(&value, wanted))),
            Self::Bool(wanted) => {
                operand::boolean(value).is_some_and(|value| wanted.contains(&value))
            }
            Self::Binary(wanted) => BASE64.decode(value).is_ok_and(|value| wanted.contains(&value)),
            Self::Address(wanted) => operand::address(value)
                .is_some_and(|value| wanted.iter().any(|wanted| wanted.contains(value))),
            // Asked before.
            Self::Null(_) => false,
        }
    }

    fn parse(kind: Kind, values: &[String], variables: bool) -> Result<Self, PolicyError> {
        /// Every value, each of which must be of the operator's kind.
        fn all<T>(
            values: &[String],
            parse: impl Fn(&str) -> Option<T>,
        ) -> Result<Vec<T>, PolicyError> {
            let wrong = |text: &String| {
                PolicyError(format!("A condition's value {text:?} does not suit its operator."))
            };
            values.iter().map(|text| parse(text).ok_or_else(|| wrong(text))).collect()
        }
        Ok(match kind {
            Kind::Text { wildcards, any_case } => {
                let syntax = Syntax { wildcards, variables, any_case };
                let patterns = values.iter().map(|text| Pattern::parse(text, syntax));
                let patterns = patterns.collect::<Result<_, _>>()?;
                Self::Text { patterns, written: values.to_vec(), wildcards }
            }
            Kind::Arn => {
                let patterns = values.iter().map(|text| ArnPattern::parse(text, variables));
                let patterns = patterns.collect::<Result<_, _>>()?;
                Self::Arn { patterns, written: values.to_vec() }
            }
            Kind::Number(compare) => Self::Number(compare, all(values, operand::number)?),
            Kind::Date(compare) => Self::Date(compare, all(values, operand::date)?),
            Kind::Bool => Self::Bool(all(values, operand::boolean)?),
            Kind::Binary => Self::Binary(all(values, |text| BASE64.decode(text).ok())?),
            Kind::Address => Self::Address(all(values, Cidr::parse)?),
            Kind::Null => Self::Null(all(values, operand::boolean)?),
        })
    }
}

/// What an operator compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text { wildcards: bool, any_case: bool },
    Arn,
    Number(Compare),
    Date(Compare),
    Bool,
    Binary,
    Address,
    Null,
}

/// An operator as it is written, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operator {
    quantifier: Quantifier,
    if_exists: bool,
    negated: bool,
    kind: Kind,
}

impl Operator {
    pub fn parse(written: &str) -> Result<Self, PolicyError> {
        let (quantifier, name) = if let Some(name) = written.strip_prefix("ForAllValues:") {
            (Quantifier::All, name)
        } else if let Some(name) = written.strip_prefix("ForAnyValue:") {
            (Quantifier::Any, name)
        } else {
            (Quantifier::One, written)
        };
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let plain = quantifier == Quantifier::One && !if_exists;
        match kind(name) {
            // Whether a key is there is asked of the key, not of its values.
            Some((kind, negated)) if plain || kind != Kind::Null => {
                Ok(Self { quantifier, if_exists, negated, kind })
            }
            _ => Err(PolicyError(format!("There is no condition operator {written:?}."))),
        }
    }

    /// The condition that this operator puts on a key.
    pub fn condition(
        self,
        key: &str,
        values: &[String],
        variables: bool,
    ) -> Result<Condition, PolicyError> {
        let Self { quantifier, if_exists, negated, kind } = self;
        let operands = Operands::parse(kind, values, variables)?;
        Ok(Condition { key: key.to_lowercase(), quantifier, if_exists, negated, operands })
    }
}

/// What the operator of this name compares, and whether it excludes.
fn kind(name: &str) -> Option<(Kind, bool)> {
    const EQUALS: Kind = Kind::Text { wildcards: false, any_case: false };
    const ANY_CASE: Kind = Kind::Text { wildcards: false, any_case: true };
    const LIKE: Kind = Kind::Text { wildcards: true, any_case: false };
    Some(match name {
        "StringEquals" => (EQUALS, false),
        "StringNotEquals" => (EQUALS, true),
        "StringEqualsIgnoreCase" => (ANY_CASE, false),
        "StringNotEqualsIgnoreCase" => (ANY_CASE, true),
        "StringLike" => (LIKE, false),
        "StringNotLike" => (LIKE, true),
        "NumericEquals" => (Kind::Number(Compare::Equal), false),
        "NumericNotEquals" => (Kind::Number(Compare::Equal), true),
        "NumericLessThan" => (Kind::Number(Compare::Less), false),
        "NumericLessThanEquals" => (Kind::Number(Compare::LessOrEqual), false),
        "NumericGreaterThan" => (Kind::Number(Compare::Greater), false),
        "NumericGreaterThanEquals" => (Kind::Number(Compare::GreaterOrEqual), false),
        "DateEquals" => (Kind::Date(Compare::Equal), false),
        "DateNotEquals" => (Kind::Date(Compare::Equal), true),
        "DateLessThan" => (Kind::Date(Compare::Less), false),
        "DateLessThanEquals" => (Kind::Date(Compare::LessOrEqual), false),
        "DateGreaterThan" => (Kind::Date(Compare::Greater), false),
        "DateGreaterThanEquals" => (Kind::Date(Compare::GreaterOrEqual), false),
        "Bool" => (Kind::Bool, false),
        "BinaryEquals" => (Kind::Binary, false),
        "IpAddress" => (Kind::Address, false),
        "NotIpAddress" => (Kind::Address, true),
        "ArnEquals" | "ArnLike" => (Kind::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Kind::Arn, true),
        "Null" => (Kind::Null, false),
        _ => return None,
    })
}
