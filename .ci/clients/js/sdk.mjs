// aws-sdk-js v3 in Node with its defaults.
import { createReadStream, readFileSync } from "node:fs";
import {
  CopyObjectCommand, DeleteObjectsCommand, GetObjectCommand, GetObjectTaggingCommand,
  HeadObjectCommand, ListObjectVersionsCommand, ListObjectsV2Command, PutBucketVersioningCommand,
  PutObjectCommand, PutObjectTaggingCommand, S3Client, paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { createPresignedPost } from "@aws-sdk/s3-presigned-post";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { digest, main, options, same } from "./where.mjs";

const s3 = new S3Client(options);

async function defaults(bucket, file) {
  const body = readFileSync(file);
  const put = await s3.send(new PutObjectCommand({ Bucket: bucket, Key: "default +", Body: body }));
  if (!put.ChecksumCRC32) throw new Error(`no checksum in ${JSON.stringify(put)}`);
  const got = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: "default +" }));
  same(got.ChecksumCRC32, put.ChecksumCRC32, "checksum");
  same(digest(await got.Body.transformToByteArray()), digest(body), "content");
  for (const algorithm of ["CRC32C", "SHA1", "SHA256", "CRC64NVME"]) {
    const key = `sum ${algorithm}`;
    let sent;
    try {
      sent = await s3.send(new PutObjectCommand({
        Bucket: bucket, Key: key, Body: body, ChecksumAlgorithm: algorithm }));
    } catch (error) {
      // The one that needs a package of its own in the client.
      if (algorithm === "CRC64NVME" && /crc64/i.test(error.message)) continue;
      throw error;
    }
    const head = await s3.send(new HeadObjectCommand({
      Bucket: bucket, Key: key, ChecksumMode: "ENABLED" }));
    same(head[`Checksum${algorithm}`], sent[`Checksum${algorithm}`], algorithm);
  }
  const stream = createReadStream(file);
  await s3.send(new PutObjectCommand({
    Bucket: bucket, Key: "stream", Body: stream, ContentLength: body.length }));
}

async function parts(bucket, file) {
  const upload = new Upload({
    client: s3, partSize: 5 << 20, queueSize: 3,
    params: { Bucket: bucket, Key: "in parts ü", Body: createReadStream(file) },
  });
  const done = await upload.done();
  if (!/-\d+"$/.test(done.ETag)) throw new Error(`not in parts: ${done.ETag}`);
  const second = await s3.send(new GetObjectCommand({
    Bucket: bucket, Key: "in parts ü", PartNumber: 2 }));
  same((await second.Body.transformToByteArray()).length, 5 << 20, "length of part 2");
  same(second.PartsCount, 4, "count of parts");
}

async function presigned(bucket, file) {
  const body = readFileSync(file);
  const plain = new S3Client({ ...options, requestChecksumCalculation: "WHEN_REQUIRED" });
  const put = await getSignedUrl(plain, new PutObjectCommand({ Bucket: bucket, Key: "a b" }),
    { expiresIn: 60 });
  same((await fetch(put, { method: "PUT", body })).status, 200, "PUT");
  const get = await getSignedUrl(plain, new GetObjectCommand({ Bucket: bucket, Key: "a b" }));
  same(digest(Buffer.from(await (await fetch(get)).arrayBuffer())), digest(body), "content");
  const { url, fields } = await createPresignedPost(plain, {
    Bucket: bucket, Key: "forms/${filename}", Expires: 60,
    Conditions: [["content-length-range", 1, 100 << 20]],
  });
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", new Blob([body]), "sent.bin");
  const posted = await fetch(url, { method: "POST", body: form });
  same(posted.status, 204, `POST (${await posted.text()})`);
}

async function calls(bucket, file) {
  const body = readFileSync(file);
  const keys = ["plain", "with space", "plus+", "ünï/日本", "100%", "a//b", "q?x=1&y", "don't!*()"];
  for (const key of keys) {
    await s3.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body: key }));
    await s3.send(new CopyObjectCommand({
      Bucket: bucket, Key: `copy/${key}`,
      CopySource: `${bucket}/${key.split("/").map(encodeURIComponent).join("/")}` }));
  }
  const listed = [];
  for await (const page of paginateListObjectsV2({ client: s3, pageSize: 3 },
    { Bucket: bucket, Prefix: "copy/" })) {
    listed.push(...page.Contents.map((entry) => entry.Key));
  }
  same(JSON.stringify(listed.sort()), JSON.stringify(keys.map((key) => `copy/${key}`).sort()), "keys");
  const top = await s3.send(new ListObjectsV2Command({ Bucket: bucket, Delimiter: "/" }));
  same(top.CommonPrefixes.map((entry) => entry.Prefix).join(), "a/,copy/,ünï/", "prefixes");
  const gone = await s3.send(new DeleteObjectsCommand({
    Bucket: bucket, Delete: { Objects: [...keys, ...listed].map((Key) => ({ Key })) } }));
  same(gone.Deleted.length, 2 * keys.length, "deleted");
  const first = { Bucket: bucket, Key: "once", Body: body, IfNoneMatch: "*" };
  await s3.send(new PutObjectCommand(first));
  const again = await s3.send(new PutObjectCommand(first)).catch((error) => error);
  same(again.name, "PreconditionFailed", "second write");
  const none = await s3.send(new GetObjectCommand({ Bucket: bucket, Key: "none" })).catch((e) => e);
  same(none.name, "NoSuchKey", "missing key");
  const head = await s3.send(new HeadObjectCommand({ Bucket: bucket, Key: "none" })).catch((e) => e);
  same(head.name, "NotFound", "missing key by HEAD");
}

async function configured(bucket) {
  await s3.send(new PutBucketVersioningCommand({
    Bucket: bucket, VersioningConfiguration: { Status: "Enabled" } }));
  for (const text of ["one", "two"]) {
    await s3.send(new PutObjectCommand({ Bucket: bucket, Key: "v", Body: text, Tagging: "a=b" }));
  }
  const { Versions: versions } = await s3.send(new ListObjectVersionsCommand({ Bucket: bucket }));
  same(versions.length, 2, "versions");
  const old = await s3.send(new GetObjectCommand({
    Bucket: bucket, Key: "v", VersionId: versions[1].VersionId }));
  same(await old.Body.transformToString(), "one", "old version");
  await s3.send(new PutObjectTaggingCommand({
    Bucket: bucket, Key: "v", Tagging: { TagSet: [{ Key: "x", Value: "y z" }] } }));
  const tags = await s3.send(new GetObjectTaggingCommand({ Bucket: bucket, Key: "v" }));
  same(JSON.stringify(tags.TagSet), JSON.stringify([{ Key: "x", Value: "y z" }]), "tags");
}

await main({ defaults, parts, presigned, calls, configured });
