//! Takes `multipart/form-data` apart. Does no I/O: bytes are pushed in, events
//! come out.
//!
//! Only the file may be large, and it is passed on in pieces as they come. All
//! before it is small, and what follows it is skipped, as S3 does, up to the
//! closing delimiter: a body without that is not whole.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::disposition::Disposition;

/// Everything before the bytes of the file.
const HEAD_MAX: usize = 20 * 1024;
/// One line of a part's head, and what stands before the first part.
const LINE_MAX: usize = 1024;
/// Lines of a part's head.
const LINES_MAX: usize = 16;
/// Parts, the file and those behind it included.
const PARTS_MAX: usize = 100;

/// Why a form cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FormError {
    /// It is not what it says it is.
    #[error("the form is not well-formed")]
    Malformed,
    /// It ends before its end.
    #[error("the form ends before its closing delimiter")]
    Truncated,
    /// There is too much of all but the file.
    #[error("the form has too many or too large fields")]
    TooLarge,
}

/// What comes out of a form, in this order: fields, one file, its bytes, the
/// end. A form without a file has only fields and an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A field before the file.
    Field {
        /// As it was sent.
        name: String,
        /// As it was sent.
        value: Bytes,
    },
    /// The file begins.
    File {
        /// As it was sent, or "".
        filename: String,
    },
    /// Bytes of the file.
    Data(Bytes),
    /// The form has come to its end.
    End,
}

/// Where in the form the parser is.
enum State {
    /// Before the first delimiter.
    Preamble,
    /// Behind the text of a delimiter.
    Delimiter,
    /// Among the header lines of a part.
    Head,
    /// In a part.
    Body(Part),
    /// Behind the closing delimiter.
    Epilogue,
}

enum Part {
    Field(String),
    File,
    Skipped,
}

/// What a step came to.
enum Step {
    /// More bytes are needed.
    Starved,
    /// There is more to do.
    Moved,
    Out(Event),
}

/// The parser of one form.
pub struct Parser {
    /// CR LF, two hyphens and the boundary. CR is in it once, at its start.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    state: State,
    disposition: Option<Disposition>,
    lines: usize,
    parts: usize,
    /// Bytes in front of the file's.
    head_len: usize,
    has_file: bool,
}

impl Parser {
    /// A parser of forms with this boundary, which is checked.
    pub fn new(boundary: &str) -> Self {
        assert!(!boundary.contains('\r'), "boundaries are of graphic letters");
        // The first delimiter has no line in front of it that it could end.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            buffer,
            state: State::Preamble,
            disposition: None,
            lines: 0,
            parts: 0,
            head_len: 0,
            has_file: false,
        }
    }

    /// Takes bytes in. To be called when [`Self::pop`] has nothing more.
    pub fn push(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Epilogue) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next event; `None` when more bytes are needed for one: if there are none,
    /// the form is truncated.
    pub fn pop(&mut self) -> Result<Option<Event>, FormError> {
        loop {
            match self.step()? {
                Step::Starved => return Ok(None),
                Step::Moved => {}
                Step::Out(event) => return Ok(Some(event)),
            }
        }
    }

    fn step(&mut self) -> Result<Step, FormError> {
        match &self.state {
            State::Preamble => self.preamble(),
            State::Delimiter => self.after_delimiter(),
            State::Head => self.head_line(),
            State::Body(Part::Field(_)) => self.field(),
            State::Body(Part::File) => Ok(self.pass(true)),
            State::Body(Part::Skipped) => Ok(self.pass(false)),
            State::Epilogue => Ok(Step::Out(Event::End)),
        }
    }

    fn preamble(&mut self) -> Result<Step, FormError> {
        let found = self.find();
        let (Ok(at) | Err(at)) = found;
        if LINE_MAX < at {
            return Err(FormError::Malformed);
        }
        if found.is_err() {
            return Ok(Step::Starved);
        }
        self.take(at + self.delimiter.len());
        self.state = State::Delimiter;
        Ok(Step::Moved)
    }

    /// Behind a delimiter two hyphens end the form; spaces and the end of the
    /// line begin a part.
    fn after_delimiter(&mut self) -> Result<Step, FormError> {
        if self.buffer.starts_with(b"--") {
            self.buffer.clear();
            self.state = State::Epilogue;
            return Ok(Step::Moved);
        }
        if self.buffer.len() < 2 {
            return Ok(Step::Starved);
        }
        let Some(line) = self.line()? else { return Ok(Step::Starved) };
        if line.iter().any(|byte| !matches!(byte, b' ' | b'\t')) {
            return Err(FormError::Malformed);
        }
        self.parts += 1;
        if PARTS_MAX < self.parts {
            return Err(FormError::TooLarge);
        }
        (self.lines, self.disposition) = (0, None);
        self.state = State::Head;
        Ok(Step::Moved)
    }

    fn head_line(&mut self) -> Result<Step, FormError> {
        let Some(line) = self.line()? else { return Ok(Step::Starved) };
        if line.is_empty() {
            return self.begin_body();
        }
        self.lines += 1;
        if LINES_MAX < self.lines {
            return Err(FormError::TooLarge);
        }
        let line = std::str::from_utf8(&line).map_err(|_| FormError::Malformed)?;
        let (name, value) = line.split_once(':').ok_or(FormError::Malformed)?;
        if name.trim_end().eq_ignore_ascii_case("content-disposition") {
            let is_second = self.disposition.is_some();
            let parsed = Disposition::parse(value).filter(|_| !is_second);
            self.disposition = Some(parsed.ok_or(FormError::Malformed)?);
        }
        Ok(Step::Moved)
    }

    /// What a part is, is known at the end of its head.
    fn begin_body(&mut self) -> Result<Step, FormError> {
        let Disposition { name, filename } = self.disposition.take().ok_or(FormError::Malformed)?;
        let (part, step) = if self.has_file {
            (Part::Skipped, Step::Moved)
        } else if name.eq_ignore_ascii_case("file") {
            self.has_file = true;
            (Part::File, Step::Out(Event::File { filename: filename.unwrap_or_default() }))
        } else {
            (Part::Field(name), Step::Moved)
        };
        self.state = State::Body(part);
        Ok(step)
    }

    /// A field is small, and comes out whole.
    fn field(&mut self) -> Result<Step, FormError> {
        let found = self.find();
        let (Ok(at) | Err(at)) = found;
        if HEAD_MAX < self.head_len + at {
            return Err(FormError::TooLarge);
        }
        if found.is_err() {
            return Ok(Step::Starved);
        }
        let value = self.take(at);
        self.take(self.delimiter.len());
        let State::Body(Part::Field(name)) = std::mem::replace(&mut self.state, State::Delimiter)
        else {
            unreachable!("called in a field")
        };
        Ok(Step::Out(Event::Field { name, value }))
    }

    /// Passes on, or over, what is certainly of this part.
    fn pass(&mut self, wanted: bool) -> Step {
        let found = self.find();
        let (Ok(at) | Err(at)) = found;
        if at > 0 {
            let data = self.buffer.split_to(at).freeze();
            return if wanted { Step::Out(Event::Data(data)) } else { Step::Moved };
        }
        if found.is_err() {
            return Step::Starved;
        }
        let _ = self.buffer.split_to(self.delimiter.len());
        self.state = State::Delimiter;
        Step::Moved
    }

    /// Where the next delimiter is, or else up to where there certainly is none.
    /// Linear: a delimiter can only begin at a CR, and has no other.
    fn find(&self) -> Result<usize, usize> {
        let bytes = &self.buffer[..];
        let mut from = 0;
        while let Some(at) = bytes[from..].iter().position(|&byte| byte == b'\r') {
            let rest = &bytes[from + at..];
            if rest.starts_with(&self.delimiter) {
                return Ok(from + at);
            }
            if self.delimiter.starts_with(rest) {
                return Err(from + at);
            }
            from += at + 1;
        }
        Err(bytes.len())
    }

    /// The next line without its end.
    fn line(&mut self) -> Result<Option<Bytes>, FormError> {
        let end = self.buffer.windows(2).position(|two| two == b"\r\n");
        // Without an end, a line that is just long enough may still get its own.
        if LINE_MAX < end.unwrap_or(self.buffer.len().saturating_sub(1)) {
            return Err(FormError::TooLarge);
        }
        let Some(end) = end else { return Ok(None) };
        let line = self.take(end);
        self.take(2);
        if !self.has_file && HEAD_MAX < self.head_len {
            return Err(FormError::TooLarge);
        }
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(FormError::Malformed);
        }
        Ok(Some(line))
    }

    fn take(&mut self, len: usize) -> Bytes {
        self.head_len += len;
        self.buffer.split_to(len).freeze()
    }
}

#[cfg(test)]
mod tests;
