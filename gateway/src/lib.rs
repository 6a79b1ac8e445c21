//! S3 in, shards out.
pub mod meta;
