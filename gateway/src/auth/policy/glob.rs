//! Matching of `*` and `?`, without going back.
//!
//! The text between two stars is searched for once, from left to right, and the
//! first place is taken: if any place leads to a match, the first one does.
//! What is between two stars and has no `?` in it is found in linear time.

use super::pattern::Token;

/// A pattern of characters, `?` and `*`: what stands between the stars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    first: Segment,
    /// One for each star: what follows it.
    rest: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// `None` is any one character.
    Mixed(Vec<Option<char>>),
}

impl Glob {
    /// The pattern of these tokens. A variable may be anything.
    pub fn new(tokens: &[Token]) -> Self {
        let is_run = |token: &Token| matches!(token, Token::Run | Token::Variable(_));
        let mut parts = tokens.split(is_run).map(Segment::new);
        let first = parts.next().unwrap_or(Segment::Literal(String::new()));
        Self { first, rest: parts.collect() }
    }

    /// Whether the whole text is of this form.
    pub fn matches(&self, text: &str) -> bool {
        let Some(start) = self.first.prefix(text) else { return false };
        let text = &text[start..];
        let Some((last, middle)) = self.rest.split_last() else { return text.is_empty() };
        let Some(end) = last.suffix(text) else { return false };
        let mut text = &text[..text.len() - end];
        for segment in middle {
            let Some(end) = segment.find(text) else { return false };
            text = &text[end..];
        }
        true
    }
}

impl Segment {
    fn new(tokens: &[Token]) -> Self {
        let chars = tokens.iter().map(|token| match token {
            Token::Char(c) => Some(*c),
            _ => None,
        });
        let literal: Option<String> = chars.clone().collect();
        literal.map_or_else(|| Self::Mixed(chars.collect()), Self::Literal)
    }

    /// How many bytes it takes at the beginning of the text.
    fn prefix(&self, text: &str) -> Option<usize> {
        match self {
            Self::Literal(literal) => text.starts_with(literal).then_some(literal.len()),
            Self::Mixed(pattern) => eat(pattern.iter(), text.chars()),
        }
    }

    /// How many bytes it takes at the end of the text.
    fn suffix(&self, text: &str) -> Option<usize> {
        match self {
            Self::Literal(literal) => text.ends_with(literal).then_some(literal.len()),
            Self::Mixed(pattern) => eat(pattern.iter().rev(), text.chars().rev()),
        }
    }

    /// Where it ends, at the first place where it is.
    fn find(&self, text: &str) -> Option<usize> {
        match self {
            Self::Literal(literal) => text.find(literal).map(|start| start + literal.len()),
            Self::Mixed(pattern) => {
                let places = text.char_indices().map(|(start, _)| start);
                places
                    .filter_map(|start| Some(start + eat(pattern.iter(), text[start..].chars())?))
                    .next()
            }
        }
    }
}

/// The length in bytes of what the pattern takes from the front of the text.
fn eat<'a>(
    pattern: impl Iterator<Item = &'a Option<char>>,
    mut text: impl Iterator<Item = char>,
) -> Option<usize> {
    let mut len = 0;
    for wanted in pattern {
        let c = text.next()?;
        if wanted.is_some_and(|wanted| wanted != c) {
            return None;
        }
        len += c.len_utf8();
    }
    Some(len)
}
