//! Multipart uploads, from their beginning to their end.

use super::*;

impl Pair {
    pub(super) async fn begin(&mut self, a: u8, b: u8) -> Result<(), Differs> {
        let upload = Upload {
            id: format!("u{:04}", self.uploads.len()),
            bucket: self.bucket_of(a),
            key: self.key_of(b),
            account: Some(ANN),
            created_ms: self.now,
            attributes: Attributes::default(),
            promised: Promised { owner: Some(ANN), ..Promised::default() },
        };
        let real = self.meta.begin_upload(upload.clone()).await;
        same("begin an upload", real, self.reference.begin_upload(&upload))?;
        self.uploads.push((upload.id, upload.bucket, upload.key));
        Ok(())
    }

    pub(super) async fn part(&mut self, [_, a, b, c, d, e, ..]: Step) -> Result<(), Differs> {
        let (Some(content), Some((upload, ..))) = (self.recent(a), pick(&self.uploads, d)) else {
            return Ok(());
        };
        let mut placed = self.written(content, b, c);
        if e >= 220 {
            let Some(row) = pick(&self.reference.versions, e) else { return Ok(()) };
            let Some(part) = pick(&row.parts, e) else { return Ok(()) };
            placed = Placed::Shared(part);
        }
        let (Placed::Written(_, part) | Placed::Shared(part)) = &mut placed;
        part.number = i32::from(e % 3) + 1;
        let commit = PartCommit { upload, placed, now_ms: self.now, grace_ms: 100 };
        let real = self.meta.commit_part(commit.clone()).await;
        same("commit a part", real, self.reference.commit_part(&commit))
    }

    pub(super) async fn complete(&mut self, a: u8, b: u8, c: u8, d: u8) -> Result<(), Differs> {
        let Some((upload, bucket, key)) = pick(&self.uploads, a) else { return Ok(()) };
        let row = self.reference.uploads.get(&upload);
        let uploaded = row.map(|row| row.parts.values()).into_iter().flatten();
        let mut parts: Vec<(i32, String)> =
            uploaded.map(|u| (u.part.number, u.part.etag.clone())).collect();
        match b {
            0..20 => parts.reverse(),
            20..40 => drop(parts.pop()),
            40..50 => parts.push((9, "tag1".into())),
            50..60 => parts.iter_mut().for_each(|(_, tag)| tag.push('x')),
            _ => {}
        }
        // The list of a repeat is that of the first time.
        if let Some(UploadState::Completed { asked, .. }) = row.map(|row| &row.state)
            && b >= 100
        {
            parts.clone_from(asked);
        }
        let request = CompleteRequest {
            upload,
            parts,
            assemble,
            declared: String::new(),
            part_min: if c < 40 { 12 } else { 0 },
            precondition: precondition(d),
            events: Vec::new(),
            entropy: u64::from(d),
            now_ms: self.now,
            grace_ms: 100,
        };
        let key = if a == 255 { b"other".to_vec() } else { key };
        let real = self.meta.complete_upload(bucket, key.clone(), request.clone()).await;
        same("complete", real, self.reference.complete(bucket, &key, &request))
    }

    pub(super) async fn abort(&mut self, a: u8, b: u8) -> Result<(), Differs> {
        if b < 60 {
            let before = self.now - 1_000;
            let real = self.meta.forget_uploads(before).await.unwrap();
            return same("forget uploads", real, self.reference.forget_uploads(before));
        }
        let Some((upload, bucket, key)) = pick(&self.uploads, a) else { return Ok(()) };
        let at = self.now + 100;
        let real = self.meta.abort_upload(bucket, key.clone(), upload.clone(), at).await;
        same("abort", real, self.reference.abort(bucket, &key, &upload, at))
    }
}
