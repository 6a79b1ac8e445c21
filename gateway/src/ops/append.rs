//! Appending to an object (`x-amz-write-offset-bytes` of PutObject): the new
//! version shares the parts of the one that is there and has one more.
//!
//! As with S3 Express, the offset must be the size of the object; unlike there,
//! the entity tag is that of a multipart object.

use s3s::{S3ErrorCode, S3Result};

use super::access::Ask;
use super::encryption::Sealing;
use crate::auth::authorize::Action;
use crate::auth::identity::Caller;
use crate::error::{custom, refuse};
use crate::gateway::Gateway;
use crate::meta::{Attributes, Bucket, NewVersion, Part, Placed, Version};
use crate::object::digest;

/// Parts that an object may have.
const PARTS_MAX: usize = 10_000;

/// The object that is appended to.
pub struct AppendedTo {
    version: Version,
    parts: Vec<Part>,
}

/// The object that is there, if it ends at `offset`. An absent one ends at 0.
pub async fn find(
    gateway: &Gateway,
    caller: &Caller,
    bucket: &Bucket,
    key: &str,
    offset: i64,
) -> S3Result<AppendedTo> {
    let ask = Ask::object(caller, bucket, Action::PutObject, key);
    let (version, parts) = super::version_with_parts(gateway, ask, None).await?;
    if u64::try_from(offset) != Ok(version.size) {
        return Err(custom(
            "InvalidWriteOffset",
            http::StatusCode::BAD_REQUEST,
            "The write offset value that you specified does not match the current object size.",
        ));
    }
    if parts.len() >= PARTS_MAX {
        return Err(custom(
            "TooManyParts",
            http::StatusCode::BAD_REQUEST,
            "You have attempted to add more parts than the maximum of 10,000 that are allowed for this object.",
        ));
    }
    Ok(AppendedTo { version, parts })
}

impl AppendedTo {
    /// `new`, which holds what is appended, behind what is there. That must not
    /// change until the commit.
    pub fn extend(self, sealing: &Sealing, mut new: NewVersion) -> S3Result<NewVersion> {
        if self.version.attributes.encryption != sealing.encryption {
            return Err(refuse(
                S3ErrorCode::InvalidRequest,
                "What is appended must be encrypted as the object is.",
            ));
        }
        let number = i32::try_from(self.parts.len() + 1).unwrap_or(i32::MAX);
        let added = new.parts.pop().map(|placed| match placed {
            Placed::Written(written, part) => Placed::Written(written, Part { number, ..part }),
            Placed::Shared(part) => Placed::Shared(Part { number, ..part }),
        });
        let mut etags: Vec<&str> = self.parts.iter().map(|part| part.etag.as_str()).collect();
        etags.push(&new.etag);
        let etag = digest::multipart_etag(etags.into_iter());
        new.etag = etag.ok_or(S3ErrorCode::InternalError)?;
        new.size += self.version.size;
        new.precondition.matches = Some(self.version.etag);
        new.attributes = Attributes { checksum: None, ..self.version.attributes };
        let renumbered = (1..).zip(self.parts);
        let kept = renumbered.map(|(number, part)| Placed::Shared(Part { number, ..part }));
        new.parts = kept.chain(added).collect();
        Ok(new)
    }
}
