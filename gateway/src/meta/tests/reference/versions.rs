//! Versions: commits, deletes, renames and changes.

use super::super::super::*;
use super::{Answer, Reference, VersionRow};

impl Reference {
    /// The versions of a key, latest first.
    fn versions_of(&self, bucket: i64, key: &[u8]) -> Vec<&VersionRow> {
        let mut rows: Vec<_> =
            self.versions.iter().filter(|row| row.bucket == bucket && row.key == key).collect();
        rows.sort_by_key(|row| -row.seq);
        rows
    }

    /// The version of a key that has this id, or the latest.
    pub fn row(&self, bucket: i64, key: &[u8], id: Option<&str>) -> Option<&VersionRow> {
        let mut rows = self.versions_of(bucket, key).into_iter();
        rows.find(|row| id.is_none_or(|id| row.version.version_id == id))
    }

    pub fn is_latest(&self, row: &VersionRow) -> bool {
        self.row(row.bucket, &row.key, None).is_some_and(|latest| latest.seq == row.seq)
    }

    /// A version as the database tells it, but for its row.
    pub fn told(&self, row: &VersionRow) -> Version {
        Version { id: 0, latest: self.is_latest(row), ..row.version.clone() }
    }

    pub fn find_version(&self, bucket: i64, key: &[u8], id: Option<&str>) -> Option<Version> {
        self.row(bucket, key, id).map(|row| self.told(row))
    }

    pub fn next_seq(&mut self, bucket: i64, key: &[u8]) -> i64 {
        let head = self.heads.entry((bucket, key.to_vec())).or_default();
        *head += 1;
        *head
    }

    pub fn commit(&mut self, new: &NewVersion) -> Answer<Version> {
        self.transaction(|all| all.commit_inside(new))
    }

    pub fn commit_inside(&mut self, new: &NewVersion) -> Answer<Version> {
        let versioning = self.versioning(new.bucket)?;
        let parts: Vec<Part> = new.parts.iter().map(part_of).cloned().collect();
        if parts.is_empty() || parts.iter().map(|part| part.size).sum::<u64>() != new.size {
            return Err(MetaError::SourceGone);
        }
        for placed in &new.parts {
            match placed {
                Placed::Written(written, _) => self.make_live(written)?,
                Placed::Shared(part) => self.check_live(part.content)?,
            }
        }
        let present = self.find_version(new.bucket, &new.key, None);
        check(&new.precondition, present.as_ref())?;
        let seq = self.next_seq(new.bucket, &new.key);
        let version_id = match versioning {
            Versioning::Enabled => format!("{seq:016x}{:016x}", new.entropy),
            Versioning::Off | Versioning::Suspended => "null".into(),
        };
        let version = Version {
            id: 0,
            version_id,
            latest: true,
            delete_marker: false,
            size: new.size,
            etag: new.etag.clone(),
            modified_ms: present.map_or(new.now_ms, |old| old.modified_ms.max(new.now_ms)),
            attributes: new.attributes.clone(),
            owner: new.owner,
            lock: new.lock,
        };
        let now = (new.now_ms, new.grace_ms);
        self.put(new.bucket, &new.key, seq, (version.clone(), parts), now, false)?;
        Ok(version)
    }

    /// Puts a version on top; a `null` version takes the place of the one
    /// before.
    fn put(
        &mut self,
        bucket: i64,
        key: &[u8],
        seq: i64,
        (version, parts): (Version, Vec<Part>),
        now: (Millis, Millis),
        bypass: bool,
    ) -> Answer<()> {
        let is_null = version.version_id == "null";
        let replaced = self.row(bucket, key, Some("null")).filter(|_| is_null).map(|row| row.row);
        self.rows += 1;
        let row = self.rows;
        self.versions.push(VersionRow { row, bucket, key: key.to_vec(), seq, version, parts });
        replaced.map_or(Ok(()), |row| self.drop_version(row, now, bypass))
    }

    fn drop_version(
        &mut self,
        row: u64,
        (now, grace): (Millis, Millis),
        bypass: bool,
    ) -> Answer<()> {
        let at = self.versions.iter().position(|other| other.row == row).expect("it is there");
        let version = &self.versions[at].version;
        if !version.delete_marker && is_protected(version.lock, bypass, now) {
            return Err(MetaError::Locked);
        }
        let gone = self.versions.remove(at);
        for part in gone.parts {
            self.condemn(part.content, now + grace);
        }
        Ok(())
    }

    /// `decided` is the number of the row that was decided on.
    pub fn delete(&mut self, request: &DeleteRequest, decided: Option<u64>) -> Answer<Deleted> {
        self.transaction(|all| all.delete_inside(request, decided))
    }

    fn delete_inside(&mut self, request: &DeleteRequest, decided: Option<u64>) -> Answer<Deleted> {
        let versioning = self.versioning(request.bucket)?;
        let (bucket, key) = (request.bucket, request.key.as_slice());
        let now = (request.now_ms, request.grace_ms);
        let bypass = request.bypass_governance;
        let found = self.row(bucket, key, request.version_id.as_deref());
        if let Some(found) = found {
            let (condition, version) = (&request.condition, &found.version);
            let holds = condition.etag.as_deref().is_none_or(|e| e == "*" || e == version.etag)
                && condition.size.is_none_or(|size| size == version.size)
                && condition.modified_s.is_none_or(|time| time == version.modified_ms / 1000);
            if !holds {
                return Err(MetaError::PreconditionFailed);
            }
        }
        if let (Some(is), Some(row)) = (&request.decided, decided) {
            let is_same = found.is_some_and(|found| {
                found.row == row
                    && self.is_latest(found) == is.is_latest
                    && found.version.attributes.tags == is.tags
            });
            let is_alone = self.versions_of(bucket, key).len() == 1;
            if !is_same || (is.is_alone && !is_alone) {
                return Err(MetaError::PreconditionFailed);
            }
        }
        let found = found.map(|found| (found.row, found.version.clone()));
        match (&request.version_id, found) {
            (Some(id), None) => Ok(Deleted { version_id: Some(id.clone()), ..Deleted::default() }),
            (Some(id), Some((row, version))) => {
                self.drop_version(row, now, bypass)?;
                let delete_marker = version.delete_marker;
                Ok(Deleted { version_id: Some(id.clone()), delete_marker, changed: true })
            }
            (None, None) if versioning == Versioning::Off => Ok(Deleted::default()),
            (None, Some((row, _))) if versioning == Versioning::Off => {
                self.drop_version(row, now, bypass)?;
                Ok(Deleted { changed: true, ..Deleted::default() })
            }
            (None, present) => {
                let seq = self.next_seq(bucket, key);
                let version_id = match versioning {
                    Versioning::Enabled => format!("{seq:016x}{:016x}", request.entropy),
                    _ => "null".into(),
                };
                let before = present.map_or(now.0, |(_, old)| old.modified_ms);
                let marker = Version {
                    id: 0,
                    version_id: version_id.clone(),
                    latest: true,
                    delete_marker: true,
                    size: 0,
                    etag: String::new(),
                    modified_ms: before.max(now.0),
                    attributes: Attributes::default(),
                    owner: request.owner,
                    lock: Lock::default(),
                };
                self.put(bucket, key, seq, (marker, Vec::new()), now, bypass)?;
                let version_id = Some(version_id);
                Ok(Deleted { version_id, delete_marker: true, changed: true })
            }
        }
    }

    pub fn rename(&mut self, request: &RenameRequest) -> Answer<()> {
        self.transaction(|all| {
            let RenameRequest { bucket, from, to, .. } = request;
            if all.versioning(*bucket)? != Versioning::Off {
                return Err(MetaError::Refused(
                    s3s::S3ErrorCode::InvalidRequest,
                    "objects of a bucket with versions cannot be renamed",
                ));
            }
            let source = all.row(*bucket, from, None).ok_or(MetaError::NoSuchKey)?;
            check(&request.source, Some(&source.version))?;
            let source = source.row;
            let replaced = all.row(*bucket, to, None).map(|r| (r.row, r.version.clone()));
            check(&request.destination, replaced.as_ref().map(|(_, version)| version))?;
            if from == to {
                return Ok(());
            }
            let seq = all.next_seq(*bucket, to);
            if let Some((row, _)) = replaced {
                all.drop_version(row, (request.now_ms, request.grace_ms), false)?;
            }
            let row = all.versions.iter_mut().find(|row| row.row == source).expect("it is there");
            (row.key, row.seq) = (to.clone(), seq);
            Ok(())
        })
    }

    pub fn change_version(
        &mut self,
        bucket: i64,
        key: &[u8],
        id: Option<&str>,
        change: impl FnOnce(&mut Version),
    ) -> Answer<Version> {
        let gone = if id.is_some() { MetaError::NoSuchVersion } else { MetaError::NoSuchKey };
        let row = self.row(bucket, key, id).map(|row| row.row).ok_or(gone)?;
        let at = self.versions.iter().position(|other| other.row == row).expect("it is there");
        if self.versions[at].version.delete_marker {
            return Err(MetaError::DeleteMarker);
        }
        change(&mut self.versions[at].version);
        Ok(self.told(&self.versions[at]))
    }
}

pub(super) fn part_of(placed: &Placed) -> &Part {
    match placed {
        Placed::Written(_, part) | Placed::Shared(part) => part,
    }
}

fn is_protected(lock: Lock, bypass: bool, now: Millis) -> bool {
    let by_date = lock
        .retention
        .is_some_and(|(mode, until)| now < until && (mode == LockMode::Compliance || !bypass));
    lock.legal_hold || by_date
}

/// If-Match, If-None-Match: what S3 says of them. A delete marker is no object.
fn check(precondition: &Precondition, present: Option<&Version>) -> Answer<()> {
    let Precondition { absent, other_than, matches } = precondition;
    let present = present.filter(|version| !version.delete_marker);
    match (matches.as_deref(), present) {
        (Some(_), None) => return Err(MetaError::NoSuchKey),
        (Some(tag), Some(version)) if tag != "*" && tag != version.etag => {
            return Err(MetaError::PreconditionFailed);
        }
        _ => {}
    }
    let Some(present) = present else { return Ok(()) };
    if *absent || other_than.as_ref() == Some(&present.etag) {
        return Err(MetaError::PreconditionFailed);
    }
    Ok(())
}
