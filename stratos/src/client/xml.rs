//! The XML of S3 answers as a small tree.
//!
//! Text is kept to the byte (object names may begin and end with spaces), and
//! only what the answers need is understood: elements, text, CDATA, and the
//! predefined and numeric references.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};
use thiserror::Error;

/// Deeper answers are refused.
const DEPTH_MAX: usize = 16;

/// One element.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name without a prefix.
    pub name: String,
    /// Its text, without that of its children.
    pub text: String,
    /// What is inside.
    pub children: Vec<Element>,
}

/// Why an answer could not be read.
#[derive(Debug, Error)]
pub enum XmlError {
    /// It is not well-formed.
    #[error("{0}")]
    Syntax(#[from] quick_xml::Error),
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    Encoding(#[from] std::str::Utf8Error),
    /// It names an entity that XML does not define.
    #[error("it uses the unknown entity &{0};")]
    Entity(String),
    /// It ends in the middle or holds nothing.
    #[error("it is incomplete")]
    Incomplete,
    /// It is nested too deeply.
    #[error("it is nested more than {DEPTH_MAX} deep")]
    Depth,
}

impl Element {
    /// Parses a whole document and returns its root.
    pub fn parse(document: &[u8]) -> Result<Self, XmlError> {
        let mut reader = Reader::from_str(std::str::from_utf8(document)?);
        // The document itself is an element without a name.
        let mut open = vec![Element::default()];
        loop {
            if open.len() > DEPTH_MAX {
                return Err(XmlError::Depth);
            }
            let event = reader.read_event()?;
            let current = open.last_mut().expect("an end without a start is a syntax error");
            match event {
                Event::Start(start) => open.push(Self::named(start.local_name().as_ref())),
                Event::Empty(start) => {
                    current.children.push(Self::named(start.local_name().as_ref()));
                }
                Event::End(_) => close(&mut open)?,
                Event::Text(text) => current.text.push_str(&text.xml10_content()),
                Event::CData(text) => current.text.push_str(&text.xml10_content()),
                Event::GeneralRef(reference) => current.text.push(resolve(&reference)?),
                Event::Eof => break,
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::DocType(_) => {}
            }
        }
        let [document] = <[Element; 1]>::try_from(open).map_err(|_| XmlError::Incomplete)?;
        document.children.into_iter().next().ok_or(XmlError::Incomplete)
    }

    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// The children called `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first child called `name`; empty when there is none.
    pub fn text_of(&self, name: &str) -> &str {
        let found = self.children.iter().find(|child| child.name == name);
        found.map_or("", |child| child.text.as_str())
    }
}

fn close(open: &mut Vec<Element>) -> Result<(), XmlError> {
    let element = open.pop().ok_or(XmlError::Incomplete)?;
    open.last_mut().ok_or(XmlError::Incomplete)?.children.push(element);
    Ok(())
}

fn resolve(reference: &BytesRef<'_>) -> Result<char, XmlError> {
    if let Some(character) = reference.resolve_char_ref()? {
        return Ok(character);
    }
    match reference.xml10_content().as_ref() {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "apos" => Ok('\''),
        "quot" => Ok('"'),
        other => Err(XmlError::Entity(other.to_owned())),
    }
}

/// Text that may stand between two tags.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#13;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_to_the_byte() {
        let root = Element::parse(
            b"<?xml version=\"1.0\"?>\n<s3:R xmlns:s3=\"u\"><C><Key> a&amp;b&#x20;&lt;<![CDATA[&]]></Key></C>\
              <C><Key/></C><T>false</T></s3:R>\n",
        )
        .expect("a document");
        assert_eq!(root.name, "R");
        let keys: Vec<&str> = root.all("C").map(|entry| entry.text_of("Key")).collect();
        assert_eq!(keys, [" a&b <&", ""]);
        assert_eq!(root.text_of("T"), "false");
        assert_eq!(root.text_of("Absent"), "");
    }

    #[test]
    fn what_is_not_a_document_is_refused() {
        for bad in ["", "text", "<a>", "<a></b>", "</a>", "<a>&unknown;</a>", "<a>&#xD800;</a>"] {
            assert!(Element::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(Element::parse(&[0xff]).is_err());
        let deep = "<a>".repeat(100) + &"</a>".repeat(100);
        assert!(matches!(Element::parse(deep.as_bytes()), Err(XmlError::Depth)));
    }

    #[test]
    fn escaped_text_reads_back() {
        let text = "a<b>&\"'c\r\n d";
        let document = format!("<k>{}</k>", escape(text));
        assert_eq!(Element::parse(document.as_bytes()).expect("a document").text, text);
    }
}
