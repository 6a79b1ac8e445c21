//! Forms whole, cut, broken and too large.

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
    refused(&format!("{}--B--", part(&"x".repeat(HEAD_MAX / 2)).repeat(2)), FormError::TooLarge);
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
