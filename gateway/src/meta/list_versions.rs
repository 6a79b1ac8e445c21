//! Listing versions: keys in byte order, the versions of a key from the latest
//! back, rolled up at a delimiter, page by page.

use sqlx::{AssertSqlSafe, Row};

use super::list::{Line, ListQuery, ROWS, Rollup, successor};
use super::model::Listed;
use super::versions::{COLUMNS, seq_of, version};
use super::{Meta, MetaError};

/// Which versions to list.
#[derive(Clone, Debug, Default)]
pub struct VersionsQuery {
    /// Bucket, prefix, delimiter, key marker, limit.
    pub list: ListQuery,
    /// With a key marker: also the versions of that key behind this one.
    pub after_version: Option<String>,
}

/// One page of versions and delete markers.
#[derive(Clone, Debug, Default)]
pub struct VersionsPage {
    /// Versions.
    pub items: Vec<Listed>,
    /// Common prefixes.
    pub prefixes: Vec<Vec<u8>>,
    /// Key (or prefix) and version id of the last line, if there is more.
    pub next: Option<(Vec<u8>, String)>,
}

/// Where the next rows are: behind this version of this key.
struct Position {
    key: Vec<u8>,
    /// Versions of the key below this number; `None` is no more of them.
    below: Option<i64>,
}

impl Meta {
    /// One page of the versions of a bucket.
    pub async fn list_versions(&self, query: &VersionsQuery) -> Result<VersionsPage, MetaError> {
        let mut page = VersionsPage::default();
        let list = &query.list;
        if list.limit == 0 {
            return Ok(page);
        }
        let mut rollup = Rollup::new(list);
        let mut from = Some(self.first_position(query).await?);
        let (mut lines, mut last_line) = (0, None);
        while let Some(position) = from {
            let rows = self.version_rows(list, &position).await?;
            for row in &rows {
                let key: &[u8] = row.get(0);
                let line = rollup.line(key);
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
                        let version = version(row, 2)?;
                        last_line = Some((key.to_vec(), version.version_id.clone()));
                        page.items.push(Listed { key: key.to_vec(), version });
                    }
                }
                lines += 1;
            }
            from = match rows.last() {
                Some(row) if rows.len() == ROWS => after_batch(row.get(0), row.get(1), &rollup),
                _ => None,
            };
        }
        Ok(page)
    }

    async fn first_position(&self, query: &VersionsQuery) -> Result<Position, MetaError> {
        let list = &query.list;
        if list.after < list.prefix || list.after.is_empty() {
            return Ok(Position { key: list.prefix.clone(), below: Some(i64::MAX) });
        }
        let below = match query.after_version.as_deref() {
            None | Some("") => None,
            Some(id) => {
                // A version that was deleted since the page before still says
                // where it was. Of `null` nothing is known then: to show a
                // version again is better than to leave one out.
                let row = sqlx::query(
                    "SELECT seq FROM versions WHERE bucket = ? AND key = ? AND version_id = ?",
                )
                .bind(list.bucket)
                .bind(&list.after)
                .bind(id)
                .fetch_optional(&self.readers)
                .await?;
                Some(row.map(|row| row.get(0)).or_else(|| seq_of(id)).unwrap_or(i64::MAX))
            }
        };
        Ok(Position { key: list.after.clone(), below })
    }

    async fn version_rows(
        &self,
        list: &ListQuery,
        from: &Position,
    ) -> Result<Vec<sqlx::sqlite::SqliteRow>, MetaError> {
        let end = successor(&list.prefix);
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT key, seq, {COLUMNS} FROM versions
             WHERE bucket = ? AND key >= ? AND (key > ? OR seq < ?) AND (? IS NULL OR key < ?)
             ORDER BY key, seq DESC LIMIT ?"
        )))
        .bind(list.bucket)
        .bind(&from.key)
        .bind(&from.key)
        .bind(from.below.unwrap_or(0))
        .bind(&end)
        .bind(&end)
        .bind(i64::try_from(ROWS).expect("a small number"))
        .fetch_all(&self.readers)
        .await?;
        Ok(rows)
    }
}

/// After a batch that ended at this version: jump over the rest of a prefix.
fn after_batch(key: &[u8], seq: i64, rollup: &Rollup<'_>) -> Option<Position> {
    match rollup.last() {
        Some(prefix) if key.starts_with(prefix) => {
            successor(prefix).map(|key| Position { key, below: Some(i64::MAX) })
        }
        _ => Some(Position { key: key.to_vec(), below: Some(seq) }),
    }
}
