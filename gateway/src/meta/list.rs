//! Listings: keys in byte order, rolled up at a delimiter, page by page.
//!
//! A page ends after `limit` lines, each an item or a common prefix. `next` is
//! the last line, so the following page starts behind it: a key that existed
//! the whole time is on exactly one page.

use sqlx::{AssertSqlSafe, Row};

use super::model::{Listed, Upload};
use super::uploads::upload;
use super::versions::{COLUMNS, version};
use super::{Meta, MetaError};

/// Rows that one query fetches.
pub(super) const ROWS: usize = 1000;

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// The bucket.
    pub bucket: i64,
    /// Keys must begin with this.
    pub prefix: Vec<u8>,
    /// Keys are cut behind its first occurrence after the prefix.
    pub delimiter: Vec<u8>,
    /// Only lines behind this one.
    pub after: Vec<u8>,
    /// Lines at most.
    pub limit: usize,
}

/// One page of a listing.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// Objects.
    pub items: Vec<Listed>,
    /// Common prefixes.
    pub prefixes: Vec<Vec<u8>>,
    /// The last line, if there is more behind it.
    pub next: Option<Vec<u8>>,
}

/// Which open uploads to list.
#[derive(Clone, Debug, Default)]
pub struct UploadsQuery {
    /// Bucket, prefix, delimiter, key marker, limit.
    pub list: ListQuery,
    /// With a key marker: only uploads of that key behind this id, too.
    pub after_id: Option<String>,
}

/// One page of open uploads.
#[derive(Clone, Debug, Default)]
pub struct UploadsPage {
    /// Uploads.
    pub items: Vec<Upload>,
    /// Common prefixes.
    pub prefixes: Vec<Vec<u8>>,
    /// Key (or prefix) and id of the last line, if there is more behind it.
    pub next: Option<(Vec<u8>, String)>,
}

/// What a key becomes in a listing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Item,
    Prefix(Vec<u8>),
    /// Covered by a prefix that was listed already.
    Covered,
}

/// Cuts keys at a delimiter. Pure; keys come in byte order.
pub(super) struct Rollup<'a> {
    query: &'a ListQuery,
    last: Option<Vec<u8>>,
}

impl<'a> Rollup<'a> {
    pub fn new(query: &'a ListQuery) -> Self {
        // The page before may have ended with a common prefix.
        let last = common_prefix(query, &query.after).filter(|prefix| *prefix == query.after);
        Self { query, last }
    }

    /// The common prefix that was listed last.
    pub fn last(&self) -> Option<&[u8]> {
        self.last.as_deref()
    }

    /// What the next key becomes.
    pub fn line(&mut self, key: &[u8]) -> Line {
        let Some(prefix) = common_prefix(self.query, key) else { return Line::Item };
        if self.last.as_ref() == Some(&prefix) {
            return Line::Covered;
        }
        self.last = Some(prefix.clone());
        Line::Prefix(prefix)
    }
}

fn common_prefix(query: &ListQuery, key: &[u8]) -> Option<Vec<u8>> {
    if query.delimiter.is_empty() {
        return None;
    }
    let rest = key.strip_prefix(query.prefix.as_slice())?;
    let at = rest.windows(query.delimiter.len()).position(|window| window == query.delimiter)?;
    Some(key[..query.prefix.len() + at + query.delimiter.len()].to_vec())
}

/// The first key behind all that begin with `prefix`; `None` if there is none.
pub(super) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}

/// Where the next query starts: behind (`true`) or at (`false`) a key.
#[derive(Clone)]
struct Start {
    key: Vec<u8>,
    behind: bool,
}

impl Start {
    fn first(query: &ListQuery) -> Self {
        if query.after < query.prefix {
            return Self { key: query.prefix.clone(), behind: false };
        }
        Self { key: query.after.clone(), behind: !query.after.is_empty() }
    }

    /// After a batch that ended at `last`: jump over the rest of a prefix.
    fn after_batch(last: &[u8], rollup: &Rollup<'_>) -> Option<Self> {
        match &rollup.last {
            Some(prefix) if last.starts_with(prefix) => {
                successor(prefix).map(|key| Self { key, behind: false })
            }
            _ => Some(Self { key: last.to_vec(), behind: true }),
        }
    }
}

impl Meta {
    /// One page of the latest versions of a bucket.
    pub async fn list(&self, query: &ListQuery) -> Result<ListPage, MetaError> {
        let mut page = ListPage::default();
        if query.limit == 0 {
            return Ok(page);
        }
        let mut rollup = Rollup::new(query);
        let mut start = Some(Start::first(query));
        let mut lines = 0;
        let mut last_line = Vec::new();
        while let Some(from) = start {
            let rows = self.list_rows(query, &from).await?;
            for row in &rows {
                let key: &[u8] = row.get(0);
                let line = rollup.line(key);
                if line != Line::Covered && lines == query.limit {
                    page.next = Some(last_line);
                    return Ok(page);
                }
                match line {
                    Line::Covered => continue,
                    Line::Prefix(prefix) => {
                        last_line.clone_from(&prefix);
                        page.prefixes.push(prefix);
                    }
                    Line::Item => {
                        last_line = key.to_vec();
                        page.items.push(Listed { key: key.to_vec(), version: version(row, 1)? });
                    }
                }
                lines += 1;
            }
            start = match rows.last() {
                Some(row) if rows.len() == ROWS => Start::after_batch(row.get(0), &rollup),
                _ => None,
            };
        }
        Ok(page)
    }

    async fn list_rows(
        &self,
        query: &ListQuery,
        from: &Start,
    ) -> Result<Vec<sqlx::sqlite::SqliteRow>, MetaError> {
        let end = successor(&query.prefix);
        let compare = if from.behind { ">" } else { ">=" };
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT key, {COLUMNS} FROM versions
             WHERE bucket = ? AND latest = 1 AND key {compare} ? AND (? IS NULL OR key < ?)
               AND delete_marker = 0
             ORDER BY key LIMIT ?"
        )))
        .bind(query.bucket)
        .bind(&from.key)
        .bind(&end)
        .bind(&end)
        .bind(i64::try_from(ROWS).expect("a small number"))
        .fetch_all(&self.readers)
        .await?;
        Ok(rows)
    }

    /// One page of the open multipart uploads of a bucket.
    pub async fn list_uploads(&self, query: &UploadsQuery) -> Result<UploadsPage, MetaError> {
        let list = &query.list;
        let mut page = UploadsPage::default();
        if list.limit == 0 {
            return Ok(page);
        }
        // At most 1,000 uploads are open in a bucket, so one query has them all.
        let rows = sqlx::query(
            "SELECT id, bucket, key, account, created_ms, attributes, lock FROM uploads
             WHERE bucket = ? AND state = 0 ORDER BY key, id",
        )
        .bind(list.bucket)
        .fetch_all(&self.readers)
        .await?;
        let mut rollup = Rollup::new(list);
        let mut lines = 0;
        let mut last_line = None;
        for row in &rows {
            let found = upload(row)?;
            if !found.key.starts_with(&list.prefix) || !is_behind(&found, query) {
                continue;
            }
            let line = rollup.line(&found.key);
            if line != Line::Covered && lines == list.limit {
                page.next = last_line;
                return Ok(page);
            }
            match line {
                Line::Covered => continue,
                Line::Prefix(prefix) => {
                    last_line = Some((prefix.clone(), String::new()));
                    page.prefixes.push(prefix);
                }
                Line::Item => {
                    last_line = Some((found.key.clone(), found.id.clone()));
                    page.items.push(found);
                }
            }
            lines += 1;
        }
        Ok(page)
    }
}

fn is_behind(upload: &Upload, query: &UploadsQuery) -> bool {
    match upload.key.cmp(&query.list.after) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => {
            query.list.after.is_empty() || query.after_id.as_ref().is_some_and(|id| upload.id > *id)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(prefix: &str, delimiter: &str, after: &str) -> ListQuery {
        ListQuery {
            prefix: prefix.into(),
            delimiter: delimiter.into(),
            after: after.into(),
            ..ListQuery::default()
        }
    }

    #[test]
    fn keys_are_cut_behind_the_first_delimiter_after_the_prefix() {
        let cut = |prefix: &str, delimiter: &str, key: &str| {
            common_prefix(&query(prefix, delimiter, ""), key.as_bytes())
                .map(|cut| String::from_utf8(cut).unwrap())
        };
        assert_eq!(cut("", "/", "a/b/c").as_deref(), Some("a/"));
        assert_eq!(cut("a/", "/", "a/b/c").as_deref(), Some("a/b/"));
        assert_eq!(cut("a/", "/", "a/b"), None);
        assert_eq!(cut("", "", "a/b"), None);
        assert_eq!(cut("", "/", "//x").as_deref(), Some("/"));
        assert_eq!(cut("", "ab", "xxabab").as_deref(), Some("xxab"));
    }

    #[test]
    fn a_page_that_ended_with_a_prefix_does_not_repeat_it() {
        let ended = query("", "/", "a/");
        assert_eq!(Rollup::new(&ended).line(b"a/z"), Line::Covered);
        let inside = query("", "/", "a/b");
        assert_eq!(Rollup::new(&inside).line(b"a/z"), Line::Prefix(b"a/".to_vec()));
    }

    #[test]
    fn successors() {
        assert_eq!(successor(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(successor(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(successor(b"\xff\xff"), None);
        assert_eq!(successor(b""), None);
    }
}
