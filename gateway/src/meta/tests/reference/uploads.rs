//! Multipart uploads.

use super::super::super::*;
use super::versions::part_of;
use super::{Answer, Reference, UploadRow, UploadState};

impl Reference {
    pub fn begin_upload(&mut self, upload: &Upload) -> Answer<()> {
        self.versioning(upload.bucket)?;
        let row = UploadRow {
            upload: upload.clone(),
            state: UploadState::Open,
            parts: Default::default(),
        };
        self.uploads.insert(upload.id.clone(), row);
        Ok(())
    }

    fn open(&mut self, id: &str) -> Answer<&mut UploadRow> {
        let row = self.uploads.get_mut(id).filter(|row| row.state == UploadState::Open);
        row.ok_or(MetaError::NoSuchUpload)
    }

    pub fn commit_part(&mut self, commit: &PartCommit) -> Answer<()> {
        self.transaction(|all| {
            all.open(&commit.upload)?;
            match &commit.placed {
                Placed::Written(written, _) => all.make_live(written)?,
                Placed::Shared(part) => all.check_live(part.content)?,
            }
            let part = part_of(&commit.placed).clone();
            let number = part.number;
            let uploaded = UploadedPart { part, modified_ms: commit.now_ms };
            let replaced = all.open(&commit.upload)?.parts.insert(number, uploaded);
            if let Some(replaced) = replaced {
                all.condemn(replaced.part.content, commit.now_ms + commit.grace_ms);
            }
            Ok(())
        })
    }

    pub fn complete(
        &mut self,
        bucket: i64,
        key: &[u8],
        request: &CompleteRequest,
    ) -> Answer<Completed> {
        self.transaction(|all| {
            let row = all.uploads.get(&request.upload);
            let row = row.filter(|row| row.upload.bucket == bucket && row.upload.key == key);
            let row = row.ok_or(MetaError::NoSuchUpload)?.clone();
            match row.state {
                UploadState::Open => {}
                UploadState::Completed { asked, answer, .. } if asked == request.parts => {
                    return Ok(answer);
                }
                _ => return Err(MetaError::NoSuchUpload),
            }
            let parts = chosen(&row, request)?;
            let (etag, attributes) = (request.assemble)(&row.upload, &parts, "")?;
            let version = all.commit_inside(&NewVersion {
                bucket,
                key: key.to_vec(),
                size: parts.iter().map(|part| part.size).sum(),
                etag,
                attributes,
                owner: row.upload.promised.owner,
                lock: row.upload.promised.lock,
                entropy: request.entropy,
                parts: parts.into_iter().map(Placed::Shared).collect(),
                precondition: request.precondition.clone(),
                events: Vec::new(),
                now_ms: request.now_ms,
                grace_ms: request.grace_ms,
            })?;
            let answer = Completed {
                etag: version.etag,
                version_id: version.version_id,
                attributes: version.attributes,
            };
            let (at, asked) = (request.now_ms, request.parts.clone());
            let state = UploadState::Completed { at, asked, answer: answer.clone() };
            all.end(&request.upload, state, at + request.grace_ms);
            Ok(answer)
        })
    }

    /// Ends an upload: what only it referred to is condemned.
    fn end(&mut self, id: &str, state: UploadState, not_before: Millis) {
        let row = self.uploads.get_mut(id).expect("it was open");
        row.state = state;
        for part in std::mem::take(&mut row.parts).into_values() {
            self.condemn(part.part.content, not_before);
        }
    }

    pub fn abort(&mut self, bucket: i64, key: &[u8], id: &str, at: Millis) -> Answer<()> {
        let row = self.open(id)?;
        if row.upload.bucket != bucket || row.upload.key != key {
            return Err(MetaError::NoSuchUpload);
        }
        self.end(id, UploadState::Aborted { at }, at);
        Ok(())
    }

    pub fn forget_uploads(&mut self, before: Millis) -> u64 {
        let known = self.uploads.len();
        self.uploads.retain(|_, row| match row.state {
            UploadState::Open => true,
            UploadState::Completed { at, .. } | UploadState::Aborted { at } => at >= before,
        });
        (known - self.uploads.len()) as u64
    }
}

fn chosen(row: &UploadRow, request: &CompleteRequest) -> Answer<Vec<Part>> {
    if request.parts.windows(2).any(|two| two[0].0 >= two[1].0) {
        return Err(MetaError::InvalidPartOrder);
    }
    let chosen = request.parts.iter().map(|(number, etag)| {
        let part = row.parts.get(number).map(|uploaded| &uploaded.part);
        part.filter(|part| part.etag == *etag).cloned().ok_or(MetaError::InvalidPart(*number))
    });
    let chosen = chosen.collect::<Answer<Vec<Part>>>()?;
    let min = request.part_min;
    for part in chosen.iter().rev().skip(1).rev() {
        if part.size < min {
            let (number, size) = (part.number, part.size);
            return Err(MetaError::PartTooSmall { number, size, min });
        }
    }
    Ok(chosen)
}
