//! Listings: every line there is, then the page that was asked for.

use super::super::super::*;
use super::{Reference, UploadState};

/// A line and where it stands.
enum Line<T> {
    Item(T),
    Prefix(Vec<u8>),
}

/// Lines, common prefixes, and where the next page begins.
type Page<T, P> = (Vec<T>, Vec<Vec<u8>>, Option<(Vec<u8>, P)>);

/// Rolls up at the delimiter what is behind the marker, and cuts a page.
///
/// `entries` are in order; `place` is what a marker says of an entry.
fn page<T: Clone, P: Clone>(
    query: &ListQuery,
    entries: Vec<(Vec<u8>, P, T)>,
    no_place: P,
) -> Page<T, P> {
    let mut lines: Vec<(Vec<u8>, P, Line<T>)> = Vec::new();
    for (key, place, item) in entries {
        let Some(rest) = key.strip_prefix(query.prefix.as_slice()) else { continue };
        let delimiter = query.delimiter.as_slice();
        let cut =
            (0..rest.len()).find(|at| !delimiter.is_empty() && rest[*at..].starts_with(delimiter));
        let Some(cut) = cut else {
            lines.push((key.clone(), place, Line::Item(item)));
            continue;
        };
        let prefix = key[..query.prefix.len() + cut + delimiter.len()].to_vec();
        let is_listed =
            lines.iter().any(|(_, _, line)| matches!(line, Line::Prefix(p) if *p == prefix));
        if prefix != query.after && !is_listed {
            lines.push((prefix.clone(), no_place.clone(), Line::Prefix(prefix)));
        }
    }
    let has_more = query.limit > 0 && lines.len() > query.limit;
    lines.truncate(query.limit);
    let next =
        lines.last().filter(|_| has_more).map(|(key, place, _)| (key.clone(), place.clone()));
    let (mut items, mut prefixes) = (Vec::new(), Vec::new());
    for (_, _, line) in lines {
        match line {
            Line::Item(item) => items.push(item),
            Line::Prefix(prefix) => prefixes.push(prefix),
        }
    }
    (items, prefixes, next)
}

impl Reference {
    pub fn list(&self, query: &ListQuery) -> (Vec<Listed>, Vec<Vec<u8>>, Option<Vec<u8>>) {
        let rows = self.versions.iter().filter(|row| row.bucket == query.bucket);
        let shown = rows.filter(|row| {
            self.is_latest(row) && !row.version.delete_marker && row.key > query.after
        });
        let mut entries: Vec<_> = shown
            .map(|row| {
                let listed = Listed { key: row.key.clone(), version: self.told(row) };
                (row.key.clone(), (), listed)
            })
            .collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        let (items, prefixes, next) = page(query, entries, ());
        (items, prefixes, next.map(|(key, ())| key))
    }

    pub fn list_versions(&self, query: &VersionsQuery) -> Page<Listed, String> {
        let list = &query.list;
        let marker = query.after_version.as_deref().unwrap_or_default();
        // Behind the marker; a version that is gone says in its id where it was.
        let below = match marker {
            "" => 0,
            id => self.row(list.bucket, &list.after, Some(id)).map_or_else(
                || {
                    let digits = id.get(..16).filter(|_| id.len() == 32);
                    digits.and_then(|d| i64::from_str_radix(d, 16).ok()).unwrap_or(i64::MAX)
                },
                |row| row.seq,
            ),
        };
        let mut rows: Vec<_> = self
            .versions
            .iter()
            .filter(|row| row.bucket == list.bucket)
            .filter(|row| row.key > list.after || (row.key == list.after && row.seq < below))
            .collect();
        rows.sort_by(|a, b| a.key.cmp(&b.key).then(b.seq.cmp(&a.seq)));
        let entries = rows
            .into_iter()
            .map(|row| {
                let listed = Listed { key: row.key.clone(), version: self.told(row) };
                (row.key.clone(), row.version.version_id.clone(), listed)
            })
            .collect();
        page(list, entries, String::new())
    }

    pub fn list_uploads(&self, query: &UploadsQuery) -> Page<Upload, String> {
        let list = &query.list;
        let open = self
            .uploads
            .values()
            .filter(|row| row.state == UploadState::Open && row.upload.bucket == list.bucket);
        let mut shown: Vec<_> = open
            .map(|row| row.upload.clone())
            .filter(|upload| {
                let is_later = query.after_id.as_ref().is_some_and(|id| upload.id > *id);
                upload.key > list.after || (upload.key == list.after && is_later)
            })
            .collect();
        shown.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
        let entries = shown.into_iter().map(|u| (u.key.clone(), u.id.clone(), u)).collect();
        page(list, entries, String::new())
    }
}
