"""JavaScript: aws-sdk-js v3, minio-js, aws4fetch, s3mini, a tus server, Bun, and uploads
by a page in headless Chromium. What the scripts in js/ stored is looked at from here.
"""

import functools
import os
import shutil
from array import array
from pathlib import Path

from gate import KIB, MIB, Skip, file_of, main, program

PARTS = 17 * MIB + 5
PAGE_PARTS = 11 * MIB + 5
SCRIPTS = Path(__file__).parent / "js"


def modules():
    found = os.environ.get("STRATOS_NODE_MODULES", "")
    if not Path(found, "@aws-sdk").is_dir():
        raise Skip("STRATOS_NODE_MODULES names no folder with the packages of js/package.json")
    return Path(found)


def node(gate, script, *arguments, runner=None, env=None):
    """Runs one script beside a link to the packages, as Node wants it."""
    folder = gate.folder("js")
    for file in SCRIPTS.glob("*"):
        shutil.copy(file, folder)
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(modules())
    return gate.run(runner or program("node"), folder / script, *arguments, env=env, cwd=folder)


@functools.cache
def page_content(size):
    """The bytes that js/page.mjs makes."""
    found, state = array("B", bytes(size)), 1
    for index in range(size):
        state = (state * 1103515245 + 12345) & 0xFFFFFFFF
        found[index] = state >> 24
    return found.tobytes()


def browser(gate, part, bucket, size):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise Skip("chromium is not installed")
    return node(gate, "browser.mjs", part, bucket, size, env={"CHROMIUM": chromium})


def sdk_stores_and_checks_by_default(gate, bucket):
    sent = file_of(gate.folder("in"), "sent", 300 * KIB)
    node(gate, "sdk.mjs", "defaults", bucket, sent)
    gate.assert_holds(bucket, "default +", sent.read_bytes())
    gate.assert_holds(bucket, "stream", sent.read_bytes())


def sdk_uploads_a_stream_in_parts(gate, bucket):
    sent = file_of(gate.folder("in"), "sent", PARTS)
    node(gate, "sdk.mjs", "parts", bucket, sent)
    gate.assert_holds(bucket, "in parts ü", sent.read_bytes())


def sdk_presigns_for_others(gate, bucket):
    sent = file_of(gate.folder("in"), "sent", 70 * KIB)
    node(gate, "sdk.mjs", "presigned", bucket, sent)
    gate.assert_holds(bucket, "a b", sent.read_bytes())
    gate.assert_holds(bucket, "forms/sent.bin", sent.read_bytes())


def sdk_lists_copies_deletes_and_hears_refusals(gate, bucket):
    sent = file_of(gate.folder("in"), "sent", 1000)
    node(gate, "sdk.mjs", "calls", bucket, sent)
    assert gate.keys(bucket) == ["once"]


def sdk_uses_versions_and_tags(gate, bucket):
    node(gate, "sdk.mjs", "configured", bucket)


def minio_js_works(gate, bucket):
    sent = file_of(gate.folder("in"), "sent", 70 * MIB)
    node(gate, "others.mjs", "minio", bucket, sent)
    gate.assert_holds(bucket, "stream", sent.read_bytes())
    assert gate.keys(bucket) == ["stream"]


def aws4fetch_works(gate, bucket):
    sent = file_of(gate.folder("in"), "sent", 3 * MIB)
    node(gate, "others.mjs", "aws4fetch", bucket, sent)
    gate.assert_holds(bucket, "worker key+", sent.read_bytes())


def s3mini_works(gate, bucket):
    sent = file_of(gate.folder("in"), "sent", PARTS)
    node(gate, "others.mjs", "s3mini", bucket, sent)
    gate.assert_holds(bucket, "mini/kept", sent.read_bytes())


def a_tus_upload_is_resumed(gate, bucket):
    sent = file_of(gate.folder("in"), "sent", PARTS)
    node(gate, "others.mjs", "tus", bucket, sent)
    gate.assert_holds(bucket, "resumed", sent.read_bytes())


def bun_reads_and_writes(gate, bucket):
    bun = modules() / ".bin" / "bun"
    if not bun.exists():
        raise Skip("bun is not installed")
    sent = file_of(gate.folder("in"), "sent", PARTS)
    node(gate, "bun.mjs", bucket, sent, runner=bun)
    gate.assert_holds(bucket, "in parts", sent.read_bytes())


def a_page_puts_by_presigned_url_after_a_preflight(gate, bucket):
    browser(gate, "put", bucket, 300 * KIB)
    gate.assert_holds(bucket, "from page +", page_content(300 * KIB))
    headers, _ = gate.must("HEAD", bucket, "from page +")
    assert headers["content-type"] == "text/x-odd", headers


def a_page_posts_a_form(gate, bucket):
    browser(gate, "form", bucket, 200 * KIB)
    gate.assert_holds(bucket, "forms/page file.bin", page_content(200 * KIB))


def a_form_is_redirected_to_where_it_says(gate, bucket):
    browser(gate, "redirect", bucket, 50 * KIB)
    gate.assert_holds(bucket, "redirected", page_content(50 * KIB))


def a_page_uploads_parts_and_reads_their_etags(gate, bucket):
    browser(gate, "parts", bucket, PAGE_PARTS)
    gate.assert_holds(bucket, "parts by page", page_content(PAGE_PARTS))


def the_sdk_in_a_page_passes_every_preflight(gate, bucket):
    browser(gate, "sdk", bucket, PAGE_PARTS)
    gate.assert_holds(bucket, "by sdk in page ü", page_content(PAGE_PARTS))


def uppy_uploads_small_and_in_parts(gate, bucket):
    browser(gate, "uppy", bucket, PAGE_PARTS)
    gate.assert_holds(bucket, "uppy/large.bin", page_content(PAGE_PARTS))
    gate.assert_holds(bucket, "uppy/small.bin", page_content(1000))


def a_page_of_an_origin_not_allowed_is_kept_out(gate, bucket):
    browser(gate, "refused", bucket, 100)
    assert gate.keys(bucket) == []


CHECKS = [
    sdk_stores_and_checks_by_default,
    sdk_uploads_a_stream_in_parts,
    sdk_presigns_for_others,
    sdk_lists_copies_deletes_and_hears_refusals,
    sdk_uses_versions_and_tags,
    minio_js_works,
    aws4fetch_works,
    s3mini_works,
    a_tus_upload_is_resumed,
    bun_reads_and_writes,
    a_page_puts_by_presigned_url_after_a_preflight,
    a_page_posts_a_form,
    a_form_is_redirected_to_where_it_says,
    a_page_uploads_parts_and_reads_their_etags,
    the_sdk_in_a_page_passes_every_preflight,
    uppy_uploads_small_and_in_parts,
    a_page_of_an_origin_not_allowed_is_kept_out,
]

if __name__ == "__main__":
    main(CHECKS)
