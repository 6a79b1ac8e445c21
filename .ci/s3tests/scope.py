"""Which tests of ceph s3-tests apply to a gateway that is not Ceph's.

A rule excludes by marker or by name and says why. What no rule names applies,
whether it passes or not: a test is never excluded for failing.
"""

FILES = ("test_s3.py", "test_headers.py")

MARKERS = {
    "bucket_logging": "logs in Ceph's journal format, flushed by a call of Ceph's own",
    "bucket_logging_cleanup": "logs in Ceph's journal format, flushed by a call of Ceph's own",
    "cloud_transition": "moves objects to a second cloud that Ceph is configured with",
    "cloud_restore": "restores objects from a second cloud that Ceph is configured with",
    "lifecycle_transition": "needs the storage classes of a Ceph zone",
    "iam_account": "makes users by IAM in an account of Ceph's",
    "iam_user": "makes users by IAM in an account of Ceph's",
    "auth_aws2": "signs headers by signature version 2, which is refused",
}

NAMES = {
    "test_account_usage": "asks Ceph's ?usage",
    "test_head_bucket_usage": "asks Ceph's usage headers",
    "test_bucket_head_extended": "asks Ceph's usage headers",
    "test_bucket_list_unordered": "asks Ceph's allow-unordered listing",
    "test_bucket_listv2_unordered": "asks Ceph's allow-unordered listing",
    "test_bucket_policy_different_tenant": "names a bucket tenant:bucket, as only Ceph does",
    "test_bucket_policy_tenanted_bucket": "names a bucket tenant:bucket, as only Ceph does",
    "test_cors_presigned_get_object_v2": "presigns by signature version 2, which is refused",
    "test_cors_presigned_get_object_tenant_v2": "presigns by signature version 2, which is refused",
    "test_cors_presigned_put_object_v2": "presigns by signature version 2, which is refused",
    "test_cors_presigned_put_object_tenant_v2": "presigns by signature version 2, which is refused",
}


def reason_to_leave_out(name, markers):
    """Why a test does not apply, or None. `name` is the function's, without parameters."""
    if name in NAMES:
        return NAMES[name]
    for marker in markers:
        if marker in MARKERS:
            return MARKERS[marker]
    return None


def short(nodeid):
    """The name in lists: s3tests/functional/test_s3.py::test_x -> test_s3.py::test_x."""
    return nodeid.removeprefix("s3tests/functional/")
