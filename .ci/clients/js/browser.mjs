// Headless Chromium: a page of one origin uploads to the gateway, which is another.
import { createServer } from "node:http";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CompleteMultipartUploadCommand, CreateMultipartUploadCommand, PutBucketCorsCommand,
  AbortMultipartUploadCommand, ListPartsCommand, GetObjectCommand, PutObjectCommand, S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { createPresignedPost } from "@aws-sdk/s3-presigned-post";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { credentials, endpoint, main, options, region, same } from "./where.mjs";

const s3 = new S3Client({ ...options, requestChecksumCalculation: "WHEN_REQUIRED" });
const sign = (command) => getSignedUrl(s3, command, { expiresIn: 300 });

async function serve(script) {
  const listener = createServer((request, response) => {
    const isScript = request.url === "/page.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : "<!doctype html><meta charset=utf-8><script src=page.js></script>");
  });
  await new Promise((done) => listener.listen(0, "127.0.0.1", done));
  return { listener, origin: `http://127.0.0.1:${listener.address().port}` };
}

// Opens a page whose origin the bucket allows, and runs `steps` with it.
async function withPage(bucket, allowed, steps) {
  const bundle = await build({
    entryPoints: [new URL("./page.mjs", import.meta.url).pathname], bundle: true, write: false,
    format: "iife", platform: "browser", logLevel: "error" });
  const { listener, origin } = await serve(bundle.outputFiles[0].text);
  if (allowed) {
    await s3.send(new PutBucketCorsCommand({ Bucket: bucket, CORSConfiguration: { CORSRules: [{
      AllowedOrigins: [origin], AllowedMethods: ["GET", "PUT", "POST", "HEAD", "DELETE"],
      AllowedHeaders: ["*"], ExposeHeaders: ["ETag", "x-amz-checksum-crc32"], MaxAgeSeconds: 60 }] } }));
  } else {
    await s3.send(new PutBucketCorsCommand({ Bucket: bucket, CORSConfiguration: { CORSRules: [{
      AllowedOrigins: ["https://elsewhere.example"], AllowedMethods: ["PUT"] }] } }));
  }
  const context = await chromium.launchPersistentContext(mkdtempSync(join(tmpdir(), "chromium-")), {
    executablePath: process.env.CHROMIUM, headless: true, ignoreHTTPSErrors: true,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"] });
  const seen = [];
  try {
    const page = await context.newPage();
    const devtools = await context.newCDPSession(page);
    await devtools.send("Network.enable");
    devtools.on("Network.requestWillBeSent", (event) => seen.push(event.request.method));
    page.on("console", (message) => console.error(`page: ${message.text()}`));
    page.on("pageerror", (error) => console.error(`page: ${error}`));
    await page.goto(origin);
    await page.waitForFunction("window.ready");
    await steps(page, seen);
  } finally {
    await context.close();
    listener.close();
  }
}

async function put(bucket, size) {
  await withPage(bucket, true, async (page, seen) => {
    const url = await sign(new PutObjectCommand({
      Bucket: bucket, Key: "from page +", ContentType: "text/x-odd" }));
    const answer = await page.evaluate(([to, bytes]) => window.put(to, bytes), [url, Number(size)]);
    same(answer.status, 200, `PUT (${answer.body})`);
    if (!answer.etag) throw new Error("the page cannot read the ETag");
    if (!seen.includes("OPTIONS")) throw new Error(`no preflight among ${seen}`);
    const read = await sign(new GetObjectCommand({ Bucket: bucket, Key: "from page +" }));
    same(await page.evaluate((from) => window.digest(from), read), answer.digest, "content");
  });
}

async function form(bucket, size) {
  await withPage(bucket, true, async (page) => {
    const signed = await createPresignedPost(s3, {
      Bucket: bucket, Key: "forms/${filename}", Expires: 300,
      Fields: { success_action_status: "201", "Content-Type": "text/x-odd" },
      Conditions: [["starts-with", "$key", "forms/"], ["content-length-range", 1, 64 << 20]] });
    const answer = await page.evaluate(([to, bytes]) => window.form(to, bytes), [signed, Number(size)]);
    same(answer.status, 201, `POST (${answer.body})`);
    if (!answer.body.includes("<Key>forms/page file.bin</Key>")) throw new Error(answer.body);
  });
}

// A form that the browser itself sends, with a redirect at its end.
async function redirect(bucket, size) {
  await withPage(bucket, true, async (page) => {
    const done = `${new URL(page.url()).origin}/done`;
    const signed = await createPresignedPost(s3, {
      Bucket: bucket, Key: "redirected", Expires: 300, Fields: { success_action_redirect: done } });
    await Promise.all([
      page.waitForURL(`${done}?*`),
      page.evaluate(([to, bytes]) => window.submit(to, bytes), [signed, Number(size)]),
    ]);
    const asked = new URL(page.url()).searchParams;
    same(asked.get("bucket"), bucket, "bucket");
    same(asked.get("key"), "redirected", "key");
    if (!asked.get("etag")) throw new Error(`no etag in ${page.url()}`);
  });
}

async function parts(bucket, size) {
  await withPage(bucket, true, async (page) => {
    const target = { Bucket: bucket, Key: "parts by page" };
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand(target));
    const count = Math.ceil(Number(size) / (5 << 20));
    const urls = await Promise.all(Array.from({ length: count }, (_, index) => sign(
      new UploadPartCommand({ ...target, UploadId, PartNumber: index + 1 }))));
    const etags = await page.evaluate(([to, bytes]) => window.parts(to, bytes), [urls, Number(size)]);
    await s3.send(new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: {
      Parts: etags.map((ETag, index) => ({ ETag, PartNumber: index + 1 })) } }));
  });
}

// The SDK itself in the page: every header it signs must pass the preflight.
async function sdk(bucket, size) {
  await withPage(bucket, true, async (page, seen) => {
    const settings = { endpoint, region, credentials, forcePathStyle: true, maxAttempts: 1 };
    const etag = await page.evaluate(([with_, to, bytes]) => window.sdk(with_, to, bytes),
      [settings, bucket, Number(size)]);
    if (!/-\d+"$/.test(etag)) throw new Error(`not in parts: ${etag}`);
    if (!seen.includes("OPTIONS")) throw new Error(`no preflight among ${seen}`);
  });
}

async function uppy(bucket, size) {
  await withPage(bucket, true, async (page) => {
    await page.exposeFunction("signFor", async ({ method, key, uploadId, partNumber }) => {
      const target = { Bucket: bucket, Key: key };
      if (method === "PUT" && partNumber) {
        return sign(new UploadPartCommand({ ...target, UploadId: uploadId, PartNumber: partNumber }));
      }
      if (method === "PUT") return sign(new PutObjectCommand(target));
      if (method === "GET") return sign(new ListPartsCommand({ ...target, UploadId: uploadId }));
      if (method === "DELETE") {
        return sign(new AbortMultipartUploadCommand({ ...target, UploadId: uploadId }));
      }
      return sign(uploadId ? new CompleteMultipartUploadCommand({ ...target, UploadId: uploadId })
        : new CreateMultipartUploadCommand(target));
    });
    const failed = await page.evaluate((bytes) => window.uppy(bytes), Number(size));
    same(failed, "", "what uppy could not upload");
  });
}

async function refused(bucket) {
  await withPage(bucket, false, async (page) => {
    const url = await sign(new PutObjectCommand({ Bucket: bucket, Key: "not allowed" }));
    const answer = await page.evaluate((to) => window.put(to, 100).catch((error) => `${error}`), url);
    if (!String(answer).includes("Failed to fetch")) throw new Error(JSON.stringify(answer));
  });
}

await main({ put, form, redirect, parts, sdk, uppy, refused });
