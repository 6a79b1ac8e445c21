//! The things that may be allowed, by the names that policies use, and which
//! grant of an ACL is worth which of them.
//!
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html>
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html#permissions>

use super::acl::Permission;

macro_rules! actions {
    ($($action:ident)*) => {
        /// What may be allowed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)] // The names say it.
        pub enum Action {
            $($action,)*
        }

        impl Action {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$action,)*];

            /// The name that policies use.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$action => concat!("s3:", stringify!($action)),)*
                }
            }
        }
    };
}

actions! {
    AbortMultipartUpload
    BypassGovernanceRetention
    CreateBucket
    DeleteBucket
    DeleteBucketPolicy
    DeleteBucketWebsite
    DeleteObject
    DeleteObjectTagging
    DeleteObjectVersion
    DeleteObjectVersionTagging
    GetAccelerateConfiguration
    GetAnalyticsConfiguration
    GetBucketAcl
    GetBucketCors
    GetBucketLocation
    GetBucketLogging
    GetBucketNotification
    GetBucketObjectLockConfiguration
    GetBucketOwnershipControls
    GetBucketPolicy
    GetBucketPolicyStatus
    GetBucketPublicAccessBlock
    GetBucketRequestPayment
    GetBucketTagging
    GetBucketVersioning
    GetBucketWebsite
    GetEncryptionConfiguration
    GetIntelligentTieringConfiguration
    GetInventoryConfiguration
    GetLifecycleConfiguration
    GetMetricsConfiguration
    GetObject
    GetObjectAcl
    GetObjectAttributes
    GetObjectLegalHold
    GetObjectRetention
    GetObjectTagging
    GetObjectVersion
    GetObjectVersionAcl
    GetObjectVersionAttributes
    GetObjectVersionTagging
    GetReplicationConfiguration
    ListAllMyBuckets
    ListBucket
    ListBucketMultipartUploads
    ListBucketVersions
    ListMultipartUploadParts
    PutAccelerateConfiguration
    PutAnalyticsConfiguration
    PutBucketAcl
    PutBucketCors
    PutBucketLogging
    PutBucketNotification
    PutBucketObjectLockConfiguration
    PutBucketOwnershipControls
    PutBucketPolicy
    PutBucketPublicAccessBlock
    PutBucketRequestPayment
    PutBucketTagging
    PutBucketVersioning
    PutBucketWebsite
    PutEncryptionConfiguration
    PutIntelligentTieringConfiguration
    PutInventoryConfiguration
    PutLifecycleConfiguration
    PutMetricsConfiguration
    PutObject
    PutObjectAcl
    PutObjectLegalHold
    PutObjectRetention
    PutObjectTagging
    PutObjectVersionAcl
    PutObjectVersionTagging
    PutReplicationConfiguration
    RestoreObject
}

/// The grant of an ACL that allows an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclRule {
    /// This permission on the bucket.
    Bucket(Permission),
    /// This permission on the object.
    Object(Permission),
}

impl Action {
    /// The grant that allows it to somebody who owns nothing of it, if any does.
    pub fn acl_rule(self) -> Option<AclRule> {
        Some(match self {
            Self::ListBucket | Self::ListBucketVersions | Self::ListBucketMultipartUploads => {
                AclRule::Bucket(Permission::Read)
            }
            // The parts of uploads go with writing; whose upload it is, is
            // another question. What old versions hold is not writing's to
            // destroy.
            Self::PutObject
            | Self::DeleteObject
            | Self::AbortMultipartUpload
            | Self::ListMultipartUploadParts => AclRule::Bucket(Permission::Write),
            Self::GetBucketAcl => AclRule::Bucket(Permission::ReadAcp),
            Self::PutBucketAcl => AclRule::Bucket(Permission::WriteAcp),
            Self::GetObject | Self::GetObjectVersion => AclRule::Object(Permission::Read),
            Self::GetObjectAcl | Self::GetObjectVersionAcl => AclRule::Object(Permission::ReadAcp),
            Self::PutObjectAcl | Self::PutObjectVersionAcl => AclRule::Object(Permission::WriteAcp),
            _ => return None,
        })
    }

    /// Whether it is for the owner of an object to allow, rather than for the
    /// owner of the bucket, while ACLs count: what the object says and who may
    /// read it. To delete, tag, lock or overwrite it is the bucket owner's.
    pub fn is_of_object_owner(self) -> bool {
        matches!(
            self,
            Self::GetObject
                | Self::GetObjectVersion
                | Self::GetObjectAttributes
                | Self::GetObjectVersionAttributes
                | Self::GetObjectAcl
                | Self::GetObjectVersionAcl
                | Self::PutObjectAcl
                | Self::PutObjectVersionAcl
        )
    }

    /// Whether it lets the owner of a bucket get out of a policy that denies
    /// everything.
    pub fn repairs_policy(self) -> bool {
        matches!(self, Self::GetBucketPolicy | Self::PutBucketPolicy | Self::DeleteBucketPolicy)
    }
}
