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
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What comes out of pieces: the events, the data of the file put together.
    fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Event>, FormError> {
        let mut parser = Parser::new("B");
        let (mut events, mut data) = (Vec::new(), Vec::new());
        let mut take = |parser: &mut Parser| -> Result<bool, FormError> {
            while let Some(event) = parser.pop()? {
                match event {
                    Event::Data(bytes) => {
                        assert!(!bytes.is_empty());
                        data.extend_from_slice(&bytes);
                    }
                    Event::End => {
                        events.push(Event::Data(data.clone().into()));
                        return Ok(true);
                    }
                    other => events.push(other),
                }
            }
            Ok(false)
        };
        for piece in pieces {
            parser.push(piece);
            if take(&mut parser)? {
                return Ok(events);
            }
        }
        Err(FormError::Truncated)
    }

    const FORM: &str = "--B\r\nContent-Disposition: form-data; name=\"Key\"\r\n\r\na/${filename}\r\n\
        --B \t\r\ncontent-disposition: form-data; name=\"empty\"; filename=\"x\"\r\n\
        Content-Type: text/plain\r\n\r\n\r\n\
        --B\r\nContent-Disposition: form-data; name=file; filename=\"q\\\"\u{e9}.txt\"\r\n\r\n\
        \r\n-\r\n--\rA\r\n--\n\r\n--B\r\n\
        Content-Disposition: form-data; name=\"late\"\r\n\r\nnobody looks\r\n--B--\r\nwhatever";

    fn field(name: &str, value: &'static str) -> Event {
        Event::Field { name: name.into(), value: Bytes::from_static(value.as_bytes()) }
    }

    #[test]
    fn fields_then_the_file_then_nothing_that_counts() {
        let events = parse([FORM.as_bytes()]).unwrap();
        let want = vec![
            field("Key", "a/${filename}"),
            field("empty", ""),
            Event::File { filename: "q\"\u{e9}.txt".into() },
            Event::Data(Bytes::from_static(b"\r\n-\r\n--\rA\r\n--\n")),
        ];
        assert_eq!(events, want);
    }

    #[test]
    fn a_form_that_is_cut_anywhere_is_an_error() {
        let whole = FORM.strip_suffix("\r\nwhatever").unwrap().as_bytes();
        for len in 0..whole.len() {
            assert_eq!(parse([&whole[..len]]), Err(FormError::Truncated), "cut at {len}");
        }
        assert!(parse([whole]).is_ok());
    }

    #[track_caller]
    fn refused(form: &str, want: FormError) {
        assert_eq!(parse([form.as_bytes()]).err(), Some(want), "{form:.60}");
        // The same when it comes byte by byte.
        let pieces: Vec<&[u8]> = form.as_bytes().chunks(1).collect();
        assert_eq!(parse(pieces).err(), Some(want), "{form:.60}, byte by byte");
    }

    #[test]
    fn what_is_no_form() {
        let part = |head: &str| format!("--B\r\n{head}\r\n\r\nx\r\n--B--");
        let named = "Content-Disposition: form-data; name=\"a\"";
        refused(&part("Content-Type: text/plain"), FormError::Malformed);
        refused(&part("Content-Disposition: form-data"), FormError::Malformed);
        refused(&part("Content-Disposition: attachment; name=\"a\""), FormError::Malformed);
        refused(&part("no colon"), FormError::Malformed);
        refused(&part(&format!("{named}\r\n{named}")), FormError::Malformed);
        refused(&part(&format!("{named}\nX: y")), FormError::Malformed);
        refused(&format!("--B!\r\n{named}\r\n\r\nx\r\n--B--"), FormError::Malformed);
        refused(&format!("{}\r\n--B--", "x".repeat(LINE_MAX)), FormError::Malformed);
        refused("", FormError::Truncated);
        refused("--C--", FormError::Truncated);
    }

    #[test]
    fn what_is_too_much() {
        let named = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"");
        let part = |value: &str| format!("--B\r\n{}\r\n\r\n{value}\r\n", named("a"));
        refused(&format!("{}--B--", part(&"x".repeat(HEAD_MAX))), FormError::TooLarge);
        refused(
            &format!("{}--B--", part(&"x".repeat(HEAD_MAX / 2)).repeat(2)),
            FormError::TooLarge,
        );
        refused(&format!("{}--B--", part("").repeat(PARTS_MAX + 1)), FormError::TooLarge);
        assert!(parse([format!("{}--B--", part("").repeat(PARTS_MAX)).as_bytes()]).is_ok());
        let long = named(&"n".repeat(LINE_MAX));
        refused(&format!("--B\r\n{long}\r\n\r\nx\r\n--B--"), FormError::TooLarge);
        let many = "A: b\r\n".repeat(LINES_MAX);
        refused(&format!("--B\r\n{many}{}\r\n\r\nx\r\n--B--", named("a")), FormError::TooLarge);
        // The file is not counted, nor what is behind it.
        let large = "y".repeat(3 * HEAD_MAX);
        let file = format!("--B\r\n{}\r\n\r\n{large}\r\n", named("file"));
        assert!(parse([format!("{file}{}--B--", part(&large)).as_bytes()]).is_ok());
    }

    /// Pieces of forms, good and bad.
    fn scrap() -> impl Strategy<Value = Vec<u8>> {
        let known: &'static [&'static [u8]] = &[
            b"--B\r\n",
            b"\r\n--B\r\n",
            b"\r\n--B--",
            b"\r\n--",
            b"\r",
            b"\r\n",
            b"Content-Disposition: form-data; name=\"a\"\r\n\r\n",
            b"Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n",
            b"Content-Disposition: form-data; name=",
            b"Content-Type: x\r\n",
        ];
        prop_oneof![
            8 => proptest::sample::select(known).prop_map(<[u8]>::to_vec),
            1 => vec(any::<u8>(), 0..8),
            1 => (1_usize..30_000).prop_map(|len| vec![b'z'; len]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn how_a_form_is_cut_changes_nothing(
            scraps in vec(scrap(), 0..12),
            well_begun: bool,
            cuts in vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let mut form = scraps.concat();
            if well_begun {
                form.splice(..0, FORM.as_bytes()[..FORM.len() / 2].iter().copied());
            }
            let whole = parse([&form[..]]);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(form.len() + 1)).collect();
            cuts.extend([0, form.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|ends| &form[ends[0]..ends[1]]);
            prop_assert_eq!(parse(pieces), whole);
        }

        #[test]
        fn any_bytes_of_a_file_come_through(file in vec(any::<u8>(), 0..300), step in 1_usize..40) {
            let head = b"--B\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n";
            let form = [&head[..], &file, b"\r\n--B--\r\n"].concat();
            let events = parse(form.chunks(step)).unwrap();
            prop_assert_eq!(&events[1], &Event::Data(file.into()));
        }
    }
}
