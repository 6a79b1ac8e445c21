//! Reads what was committed to SQLite's write-ahead log since a position.
//!
//! The log is a header of 32 bytes and frames: 24 bytes of header and one page.
//! Each frame names its page and, if it ends a transaction, the size of the
//! database after it; salts tie it to this life of the log, and a checksum to
//! all frames before it. Reading therefore needs no lock: a frame that is being
//! written, belongs to an earlier life, or was never finished does not fit, and
//! reading ends at the last commit before it.
//!
//! Pure but for reading. Not here: what becomes of the pages (`vault::payload`), and when
//! the log is emptied (`vault::ship`).

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes of the log's header.
const HEADER: usize = 32;

/// Bytes of a frame before its page.
const FRAME: usize = 24;

/// The format that SQLite has written since 3.7.
const VERSION: u32 = 3_007_000;

/// Bytes of pages that one transaction may have.
pub const TRANSACTION_MAX: usize = 48 * 1024 * 1024;

/// A place between two transactions in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The salts of this life of the log. When it is begun anew, the first grows
    /// by one and the second is random.
    pub salt: [u32; 2],
    /// Bytes of a page.
    pub page_size: u32,
    /// Frames before this place.
    pub frames: u64,
    /// The checksum of all of them.
    pub sum: [u32; 2],
    /// Whether the log ended here when it was checkpointed: if it is begun
    /// anew, its first frame follows this place.
    pub sealed: bool,
}

/// What was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commits {
    /// The last image of each page that changed.
    pub pages: BTreeMap<u32, Vec<u8>>,
    /// Bytes of a page.
    pub page_size: u32,
    /// Pages of the database after the last commit.
    pub db_pages: u32,
    /// The place after the last commit.
    pub end: Position,
    /// Whether reading ended because there was enough.
    pub is_cut: bool,
}

/// Why the log could not be read on from a position.
#[derive(Debug, Error)]
pub enum WalError {
    /// It could not be read.
    #[error("the log of the metadata cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It was begun anew, or is another one.
    #[error("the log of the metadata is another one than before")]
    Other,
    /// One transaction changed more than can be held.
    #[error("one transaction changed more than {} MiB of metadata", TRANSACTION_MAX >> 20)]
    TooLarge,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    /// Whether checksums add big-endian words.
    is_big: bool,
    page_size: u32,
    salt: [u32; 2],
    sum: [u32; 2],
}

fn big(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// SQLite's checksum, going on from `sum`.
fn add(sum: [u32; 2], bytes: &[u8], is_big: bool) -> [u32; 2] {
    let word = |bytes: &[u8]| {
        let bytes = bytes.try_into().expect("four bytes");
        if is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    let [mut a, mut b] = sum;
    for pair in bytes.chunks_exact(8) {
        a = a.wrapping_add(word(&pair[..4])).wrapping_add(b);
        b = b.wrapping_add(word(&pair[4..])).wrapping_add(a);
    }
    [a, b]
}

impl Header {
    /// `None` if these bytes do not begin a log.
    fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let is_big = match big(bytes, 0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return None,
        };
        let page_size = big(bytes, 8);
        let is_size = page_size.is_power_of_two() && (512..=65_536).contains(&page_size);
        let sum = [big(bytes, 24), big(bytes, 28)];
        let fits = add([0, 0], &bytes[..24], is_big) == sum;
        (big(bytes, 4) == VERSION && is_size && fits).then_some(Self {
            is_big,
            page_size,
            salt: [big(bytes, 16), big(bytes, 20)],
            sum,
        })
    }

    fn begin(&self) -> Position {
        Position {
            salt: self.salt,
            page_size: self.page_size,
            frames: 0,
            sum: self.sum,
            sealed: false,
        }
    }
}

/// Fills `buffer`, unless the file ends before.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The place from which to read on: `from`, if the log still goes on from
/// there; `None` reads a log that was empty when it was last looked at.
fn resume(
    file: &mut (impl Read + Seek),
    header: &Header,
    from: Option<Position>,
) -> Result<Position, WalError> {
    let begin = header.begin();
    let Some(from) = from else { return Ok(begin) };
    if (from.salt, from.page_size) != (begin.salt, begin.page_size) {
        let next = (from.salt[0].wrapping_add(1), from.page_size);
        let follows = from.sealed && (begin.salt[0], begin.page_size) == next;
        return if follows { Ok(begin) } else { Err(WalError::Other) };
    }
    // The checksum of the frame before is that of all frames up to here.
    let known = match from.frames.checked_sub(1) {
        None => header.sum,
        Some(last) => {
            let step = FRAME as u64 + u64::from(header.page_size);
            file.seek(SeekFrom::Start(HEADER as u64 + last * step))?;
            let mut frame = [0; FRAME];
            if !fill(file, &mut frame)? {
                return Err(WalError::Other);
            }
            let salt = [big(&frame, 8), big(&frame, 12)];
            if salt != header.salt {
                return Err(WalError::Other);
            }
            [big(&frame, 16), big(&frame, 20)]
        }
    };
    if known == from.sum { Ok(Position { sealed: false, ..from }) } else { Err(WalError::Other) }
}

/// Reads commits after `from` until the pages fill `enough` bytes. `None` if
/// there are none. Without `from` the log is read from its beginning.
pub fn read(
    file: &mut (impl Read + Seek),
    from: Option<Position>,
    enough: usize,
) -> Result<Option<Commits>, WalError> {
    file.seek(SeekFrom::Start(0))?;
    let mut header = [0; HEADER];
    if !fill(file, &mut header)? {
        // Emptied. What was sealed may begin anew any time.
        let is_known = from.is_none_or(|from| from.sealed || from.frames == 0);
        return if is_known { Ok(None) } else { Err(WalError::Other) };
    }
    // A header that is being written will be whole the next time.
    let Some(header) = Header::parse(&header) else { return Ok(None) };
    let at = resume(file, &header, from)?;
    collect(file, &header, at, enough)
}

fn collect(
    file: &mut (impl Read + Seek),
    header: &Header,
    mut at: Position,
    enough: usize,
) -> Result<Option<Commits>, WalError> {
    let page_size = header.page_size as usize;
    file.seek(SeekFrom::Start(HEADER as u64 + at.frames * (FRAME + page_size) as u64))?;
    let mut commits: Option<Commits> = None;
    let mut open: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut frame = vec![0; FRAME + page_size];
    while fill(file, &mut frame)? {
        let (head, page) = frame.split_at(FRAME);
        let (number, db_pages) = (big(head, 0), big(head, 4));
        let sum = add(add(at.sum, &head[..8], header.is_big), page, header.is_big);
        let fits = [big(head, 8), big(head, 12)] == header.salt
            && [big(head, 16), big(head, 20)] == sum
            && number > 0;
        if !fits {
            break;
        }
        (at.sum, at.frames) = (sum, at.frames + 1);
        if (open.len() + 1) * page_size > TRANSACTION_MAX {
            return Err(WalError::TooLarge);
        }
        open.push((number, page.to_vec()));
        if db_pages == 0 {
            continue;
        }
        let all = commits.get_or_insert_with(|| Commits {
            pages: BTreeMap::new(),
            page_size: header.page_size,
            db_pages,
            end: at,
            is_cut: false,
        });
        all.pages.extend(open.drain(..));
        (all.db_pages, all.end) = (db_pages, at);
        if all.pages.len() * page_size >= enough {
            all.is_cut = true;
            break;
        }
    }
    if let Some(commits) = &mut commits {
        // What a later commit cut off is gone.
        commits.pages.split_off(&commits.db_pages.saturating_add(1));
    }
    Ok(commits)
}

#[cfg(test)]
mod tests;
