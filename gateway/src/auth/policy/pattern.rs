//! The texts of policies that stand for many: wildcards and variables.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>

use super::glob::Glob;
use super::{Context, PolicyError};

/// What in a text is more than text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Syntax {
    /// `*` and `?`.
    pub wildcards: bool,
    /// `${...}`.
    pub variables: bool,
    /// Upper and lower case are the same.
    pub any_case: bool,
}

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`
    Run,
    Variable(Variable),
}

/// `${key}` or `${key, 'default'}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    key: String,
    default: Option<String>,
}

/// A text with wildcards and variables.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    form: Form,
    any_case: bool,
}

#[derive(Clone, Debug)]
enum Form {
    /// The same for every request.
    Fixed(Glob),
    /// Has variables.
    Open(Vec<Token>),
}

impl Pattern {
    pub fn parse(text: &str, syntax: Syntax) -> Result<Self, PolicyError> {
        Ok(Self::new(tokens(text, syntax)?, syntax.any_case))
    }

    pub fn new(tokens: Vec<Token>, any_case: bool) -> Self {
        let open = tokens.iter().any(|token| matches!(token, Token::Variable(_)));
        let form = if open { Form::Open(tokens) } else { Form::Fixed(Glob::new(&tokens)) };
        Self { form, any_case }
    }

    /// Whether the whole text fits. `None`: a variable in it has no value.
    pub fn matches(&self, text: &str, context: &Context) -> Option<bool> {
        let folded = self.any_case.then(|| text.to_lowercase());
        let text = folded.as_deref().unwrap_or(text);
        Some(match &self.form {
            Form::Fixed(glob) => glob.matches(text),
            Form::Open(tokens) => {
                Glob::new(&resolve(tokens, context, self.any_case)?).matches(text)
            }
        })
    }
}

/// The tokens with the values of their variables. A value is plain text: a star
/// in a name is a star.
fn resolve(tokens: &[Token], context: &Context, any_case: bool) -> Option<Vec<Token>> {
    let mut resolved = Vec::with_capacity(tokens.len());
    for token in tokens {
        let Token::Variable(variable) = token else {
            resolved.push(token.clone());
            continue;
        };
        let value = context.single(&variable.key).or(variable.default.as_deref())?;
        let folded = any_case.then(|| value.to_lowercase());
        resolved.extend(folded.as_deref().unwrap_or(value).chars().map(Token::Char));
    }
    Some(resolved)
}

/// Cuts a text into tokens.
pub(super) fn tokens(text: &str, syntax: Syntax) -> Result<Vec<Token>, PolicyError> {
    let mut tokens = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if syntax.variables
            && let Some(inside) = rest.strip_prefix("${")
        {
            let (name, after) = inside
                .split_once('}')
                .ok_or_else(|| PolicyError(format!("A variable in {text:?} does not end.")))?;
            tokens.push(variable(name, text)?);
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            // Several stars are one.
            '*' if syntax.wildcards && tokens.last() == Some(&Token::Run) => {}
            '*' if syntax.wildcards => tokens.push(Token::Run),
            '?' if syntax.wildcards => tokens.push(Token::One),
            _ if syntax.any_case => tokens.extend(c.to_lowercase().map(Token::Char)),
            _ => tokens.push(Token::Char(c)),
        }
    }
    Ok(tokens)
}

/// What is between `${` and `}`.
fn variable(inside: &str, text: &str) -> Result<Token, PolicyError> {
    let wrong = || PolicyError(format!("A variable in {text:?} is not valid."));
    // These three stand for themselves.
    if let "*" | "?" | "$" = inside {
        return Ok(Token::Char(inside.chars().next().ok_or_else(wrong)?));
    }
    let (key, default) = match inside.split_once(',') {
        None => (inside, None),
        Some((key, default)) => {
            let quoted = default.trim().strip_prefix('\'').and_then(|d| d.strip_suffix('\''));
            (key, Some(quoted.ok_or_else(wrong)?.to_owned()))
        }
    };
    let key = key.trim().to_lowercase();
    // A colon is part of every condition key.
    if key.split_once(':').is_none_or(|(service, name)| service.is_empty() || name.is_empty()) {
        return Err(wrong());
    }
    Ok(Token::Variable(Variable { key, default }))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const WILD: Syntax = Syntax { wildcards: true, variables: true, any_case: false };

    #[track_caller]
    fn check(pattern: &str, text: &str, want: Option<bool>) {
        let mut context = Context::new();
        context.set("aws:username", "a*n");
        context.add("aws:TagKeys", "one");
        context.add("aws:TagKeys", "two");
        let pattern_ = Pattern::parse(pattern, WILD).unwrap();
        assert_eq!(pattern_.matches(text, &context), want, "{pattern:?} {text:?}");
    }

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "a/b", true),
            ("?", "", false),
            ("?", "é", true),
            ("?", "ab", false),
            ("a*", "a", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*ab*ab*", "xabyabz", true),
            ("*ab*ab*", "xaby", false),
            ("a?c*?", "abcd", true),
            ("a?c*?", "abc", false),
            ("*?b", "ab", true),
            ("*a?b*", "xaaab", true),
            ("*a?b*", "éaéb", true),
            ("a*bc", "abcbc", true),
            ("a*b?*c", "abc", false),
            ("a*b?*c", "abxc", true),
            ("A", "a", false),
        ] {
            check(pattern, text, Some(want));
        }
    }

    #[test]
    fn variables_stand_for_plain_text() {
        check("home/${aws:username}/*", "home/a*n/x", Some(true));
        check("home/${AWS:UserName}/*", "home/aan/x", Some(false));
        check("${*}${?}${$}{x}", "*?${x}", Some(true));
        check("${*}", "x", Some(false));
        check("${aws:nothing}*", "x", None);
        check("${aws:tagkeys}", "one", None);
        check("${aws:nothing, 'd*'}", "d*", Some(true));
        check("${aws:nothing, 'd*'}", "dd", Some(false));
    }

    #[test]
    fn what_is_no_variable_is_refused_or_is_text() {
        for text in ["${", "${}", "${x}", "${:x}", "${aws:}", "${aws:x, d}"] {
            assert!(Pattern::parse(text, WILD).is_err(), "{text}");
            let plain = Pattern::parse(text, Syntax::default()).unwrap();
            assert_eq!(plain.matches(text, &Context::new()), Some(true));
        }
    }

    #[test]
    fn h11_a_thousand_stars_take_less_than_five_milliseconds() {
        let context = Context::new();
        let hostile = [
            ("*a".repeat(1000) + "b", "a".repeat(1024)),
            ("*a".repeat(1000) + "*b*", "a".repeat(1024)),
            ("*ab".repeat(500) + "?", "ab".repeat(512)),
            (format!("*{}b*", "a".repeat(512)), "a".repeat(1024)),
        ];
        for (pattern, text) in hostile {
            let pattern = Pattern::parse(&pattern, WILD).unwrap();
            // The best of several, since the machine may be busy.
            let measure = |_| {
                let start = Instant::now();
                let fits = pattern.matches(&text, &context);
                assert_eq!(fits, Some(false));
                start.elapsed()
            };
            let best = (0..10).map(measure).min().unwrap();
            assert!(best < Duration::from_millis(5), "{best:?}");
        }
        // It does find what is there.
        let pattern = Pattern::parse(&"*a".repeat(1000), WILD).unwrap();
        assert_eq!(pattern.matches(&"a".repeat(1000), &context), Some(true));
        assert_eq!(pattern.matches(&"a".repeat(999), &context), Some(false));
    }
}
