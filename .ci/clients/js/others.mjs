// Clients of other authors for Node: minio-js, aws4fetch, s3mini, tus.
import { createReadStream, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { S3Store } from "@tus/s3-store";
import { Server } from "@tus/server";
import { AwsClient } from "aws4fetch";
import { Client } from "minio";
import { S3mini } from "s3mini";
import { credentials, digest, endpoint, main, options, region, same } from "./where.mjs";

async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function minio(bucket, file) {
  const url = new URL(endpoint);
  const client = new Client({
    endPoint: url.hostname, port: Number(url.port), useSSL: url.protocol === "https:",
    accessKey: credentials.accessKeyId, secretKey: credentials.secretAccessKey, region,
    pathStyle: true });
  const body = readFileSync(file);
  await client.fPutObject(bucket, "file ü+", file, { "x-amz-meta-colour": "blue" });
  await client.putObject(bucket, "stream", createReadStream(file));
  const back = await read(await client.getObject(bucket, "stream"));
  same(digest(back), digest(body), "content");
  same((await client.statObject(bucket, "file ü+")).metaData.colour, "blue", "metadata");
  const listed = await read(client.listObjectsV2(bucket, "", true).map((o) => Buffer.from(`${o.name},`)));
  same(String(listed), "file ü+,stream,", "listing");
  const policy = client.newPostPolicy();
  policy.setBucket(bucket);
  policy.setKey("form");
  policy.setExpires(new Date(Date.now() + 60_000));
  const { postURL, formData } = await client.presignedPostPolicy(policy);
  const form = new FormData();
  for (const [name, value] of Object.entries(formData)) form.append(name, value);
  form.append("file", new Blob([body]), "x.bin");
  const posted = await fetch(postURL, { method: "POST", body: form });
  same(posted.status, 204, `POST (${await posted.text()})`);
  await client.removeObjects(bucket, ["file ü+", "form"]);
}

async function aws4fetch(bucket, file) {
  const aws = new AwsClient({ ...credentials, region, service: "s3", retries: 0 });
  const body = readFileSync(file);
  const url = `${endpoint}/${bucket}/worker%20key%2B`;
  same((await aws.fetch(url, { method: "PUT", body })).status, 200, "PUT");
  same(digest(Buffer.from(await (await aws.fetch(url)).arrayBuffer())), digest(body), "content");
  const signed = await aws.sign(`${url}?X-Amz-Expires=60`, { aws: { signQuery: true } });
  same((await fetch(signed)).status, 200, "signed query");
}

async function s3mini(bucket, file) {
  const client = new S3mini({ ...credentials, endpoint: `${endpoint}/${bucket}`, region });
  const body = readFileSync(file);
  await client.putAnyObject("mini/in parts", body);
  same(digest(Buffer.from(await client.getObjectArrayBuffer("mini/in parts"))), digest(body), "content");
  same((await client.listObjects("/", "mini/")).length, 1, "listing");
  same(await client.getContentLength("mini/in parts"), body.length, "length");
  same(await client.deleteObject("mini/in parts"), true, "deletion");
  await client.putObject("mini/kept", body);
}

// A tus server keeps resumable uploads in the bucket; its client stops half way.
async function tus(bucket, file) {
  const { maxAttempts, ...config } = options;
  const server = new Server({
    path: "/files",
    datastore: new S3Store({ partSize: 5 << 20, s3ClientConfig: { ...config, bucket } }),
    namingFunction: () => "resumed",
  });
  const listener = createServer((request, response) => server.handle(request, response));
  await new Promise((done) => listener.listen(0, "127.0.0.1", done));
  const base = `http://127.0.0.1:${listener.address().port}/files`;
  const body = readFileSync(file);
  const half = 8 << 20;
  const tusHeaders = { "Tus-Resumable": "1.0.0" };
  const made = await fetch(base, {
    method: "POST", headers: { ...tusHeaders, "Upload-Length": String(body.length) } });
  same(made.status, 201, `creation (${await made.text()})`);
  const patch = (offset, bytes) => fetch(`${base}/resumed`, {
    method: "PATCH", body: bytes,
    headers: { ...tusHeaders, "Upload-Offset": String(offset),
      "Content-Type": "application/offset+octet-stream" } });
  const first = await patch(0, body.subarray(0, half));
  same(first.status, 204, `first half (${await first.text()})`);
  const head = await fetch(`${base}/resumed`, { method: "HEAD", headers: tusHeaders });
  same(head.headers.get("upload-offset"), String(half), "offset");
  const second = await patch(half, body.subarray(half));
  same(second.status, 204, `second half (${await second.text()})`);
  listener.close();
}

await main({ minio, aws4fetch, s3mini, tus });
