//! Signed notes (C2SP signed-note): a text and lines that say who signed it.
//!
//! ```text
//! text, ended by a newline
//!
//! \u{2014} NAME BASE64(id[4] || signature)
//! ```
//!
//! A key is known by its name and by an id, the beginning of a hash over name,
//! algorithm and key. Lines of others are no fault: they are not looked at. Two
//! algorithms are known: an Ed25519 signature of the text, and a witness's
//! cosignature (C2SP tlog-cosignature), which names a time as well.
//!
//! The key signs the text itself, not our digest of it: see
//! [`SecretKey::sign_text`]. Not here: what a text says (`checkpoint`).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use protocol::SecretKey;
use protocol::ids::PublicKey;
use protocol::ledger_api::NOTE_MAX;
use protocol::sign::{BadSignature, Signature, verify_text};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Most signatures of a note.
const SIGNATURES_MAX: usize = 64;

/// An em dash and a space begin the line of a signature.
const DASH: &str = "\u{2014} ";

/// A text and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What is signed. It ends with a newline.
    pub text: String,
    /// Who signed it.
    pub signatures: Vec<Line>,
}

/// A signature as it stands in a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The name of the key.
    pub name: String,
    /// Tells keys of one name apart.
    pub id: [u8; 4],
    /// What the key's algorithm makes.
    pub signature: Vec<u8>,
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The text.
    Ed25519 = 1,
    /// A time and the text, as a witness.
    Cosignature = 4,
}

/// A key whose signatures are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    /// Its name.
    pub name: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// The key.
    pub key: PublicKey,
}

/// What a witness says of a checkpoint: the newest one it knows of this log at
/// that time, and it continues all those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// When, in seconds since 1970.
    pub time_s: u64,
    /// Over the time and the text.
    pub signature: Signature,
}

/// Why a note is not one, or not signed.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NoteError {
    /// It is too long.
    #[error("the note is longer than {NOTE_MAX} bytes")]
    TooLong,
    /// Its parts are not where they belong.
    #[error("the note {0}")]
    Form(&'static str),
    /// A key that should have signed did not.
    #[error("the note is not signed by {0}")]
    Unsigned(String),
    /// A signature is wrong.
    #[error(transparent)]
    Signature(#[from] BadSignature),
}

impl Note {
    /// Reads a note. A note has one spelling: it prints as it was.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_MAX {
            return Err(NoteError::TooLong);
        }
        if note.chars().any(|c| c.is_ascii_control() && c != '\n') {
            return Err(NoteError::Form("holds a control character"));
        }
        let split = note.rfind("\n\n").ok_or(NoteError::Form("has no signatures"))?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        if !lines.ends_with('\n') {
            return Err(NoteError::Form("does not end with a newline"));
        }
        let signatures = lines.split_terminator('\n').map(Line::parse);
        let signatures: Vec<Line> = signatures.collect::<Result<_, _>>()?;
        if signatures.is_empty() || signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::Form("has too few or too many signatures"));
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Verifies that `key` signed the text itself.
    pub fn verify(&self, key: &NoteKey) -> Result<(), NoteError> {
        let bytes = self.signature_of(key)?.try_into();
        let bytes = bytes.map_err(|_| NoteError::Form("has a signature of another length"))?;
        Ok(verify_text(key.key, &self.text, &Signature(bytes))?)
    }

    /// What the witness with this key says of the text, verified.
    pub fn cosignature(&self, key: &NoteKey) -> Result<Cosignature, NoteError> {
        let cosignature = Cosignature::read(self.signature_of(key)?)?;
        cosignature.verify(key.key, &self.text)?;
        Ok(cosignature)
    }

    fn signature_of(&self, key: &NoteKey) -> Result<&[u8], NoteError> {
        let id = key.id();
        let line = self.signatures.iter().find(|line| line.name == key.name && line.id == id);
        line.map(|line| line.signature.as_slice())
            .ok_or_else(|| NoteError::Unsigned(key.name.clone()))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| line.fmt(f))
    }
}

impl Line {
    fn parse(line: &str) -> Result<Self, NoteError> {
        let form = NoteError::Form("has a line that is no signature");
        let Some((name, base64)) = line.strip_prefix(DASH).and_then(|rest| rest.split_once(' '))
        else {
            return Err(form);
        };
        let bytes = BASE64.decode(base64);
        let (true, Ok(bytes)) = (is_name(name), bytes) else { return Err(form) };
        match bytes.split_first_chunk() {
            Some((&id, signature)) if !signature.is_empty() => {
                Ok(Self { name: name.to_owned(), id, signature: signature.to_vec() })
            }
            _ => Err(form),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.as_slice(), &self.signature].concat();
        writeln!(f, "{DASH}{} {}", self.name, BASE64.encode(bytes))
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+')
}

impl NoteKey {
    /// A key that signs texts.
    pub fn signer(name: String, key: PublicKey) -> Self {
        Self { name, algorithm: Algorithm::Ed25519, key }
    }

    /// A witness. Its name follows from its key.
    pub fn witness(key: PublicKey) -> Self {
        Self { name: format!("stratos/witness/{key}"), algorithm: Algorithm::Cosignature, key }
    }

    /// Tells it from other keys of its name.
    pub fn id(&self) -> [u8; 4] {
        let parts = [self.name.as_bytes(), b"\n", &[self.algorithm as u8], &self.key.0];
        let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(parts.concat()));
        [a, b, c, d]
    }

    /// A signature of this key as it stands in a note.
    pub fn line(&self, signature: Vec<u8>) -> Line {
        Line { name: self.name.clone(), id: self.id(), signature }
    }
}

/// Signs a text under a name.
pub fn signed(text: String, name: String, key: &SecretKey) -> Note {
    let signature = key.sign_text(&text);
    let line = NoteKey::signer(name, key.public()).line(signature.0.to_vec());
    Note { text, signatures: vec![line] }
}

impl Cosignature {
    /// Cosigns a text at a time.
    pub fn new(text: &str, time_s: u64, key: &SecretKey) -> Self {
        Self { time_s, signature: key.sign_text(&cosigned(text, time_s)) }
    }

    /// Verifies that this witness cosigned the text.
    pub fn verify(&self, witness: PublicKey, text: &str) -> Result<(), BadSignature> {
        verify_text(witness, &cosigned(text, self.time_s), &self.signature)
    }

    /// As it stands in a note.
    pub fn line(&self, witness: PublicKey) -> Line {
        let bytes = [self.time_s.to_be_bytes().as_slice(), &self.signature.0].concat();
        NoteKey::witness(witness).line(bytes)
    }

    fn read(bytes: &[u8]) -> Result<Self, NoteError> {
        let parts = bytes.split_first_chunk().and_then(|(time, rest)| {
            Some((u64::from_be_bytes(*time), Signature(rest.try_into().ok()?)))
        });
        match parts {
            Some((time_s, signature)) if i64::try_from(time_s).is_ok() => {
                Ok(Self { time_s, signature })
            }
            _ => Err(NoteError::Form("has a cosignature of another form")),
        }
    }
}

fn cosigned(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}
