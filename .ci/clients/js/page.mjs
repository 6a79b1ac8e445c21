// What runs in the page. Content is made by the same small generator as in js_check.py.
import { S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import AwsS3 from "@uppy/aws-s3";
import Uppy from "@uppy/core";

function content(size) {
  const bytes = new Uint8Array(size);
  for (let index = 0, state = 1; index < size; index += 1) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

const hex = (buffer) => [...new Uint8Array(buffer)].map((b) => b.toString(16).padStart(2, "0")).join("");
const sha256 = async (bytes) => hex(await crypto.subtle.digest("SHA-256", bytes));

window.put = async (url, size) => {
  const bytes = content(size);
  const answer = await fetch(url, {
    method: "PUT", body: bytes, headers: { "content-type": "text/x-odd" } });
  return { status: answer.status, etag: answer.headers.get("etag"), body: await answer.text(),
    digest: await sha256(bytes) };
};

window.digest = async (url) => sha256(await (await fetch(url)).arrayBuffer());

function fill(fields, size) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", new File([content(size)], "page file.bin", { type: "text/x-odd" }));
  return form;
}

window.form = async ({ url, fields }, size) => {
  const answer = await fetch(url, { method: "POST", body: fill(fields, size) });
  return { status: answer.status, body: await answer.text() };
};

window.submit = ({ url, fields }, size) => {
  const form = document.createElement("form");
  Object.assign(form, { method: "POST", action: url, enctype: "multipart/form-data" });
  const add = (properties) => form.append(Object.assign(document.createElement("input"), properties));
  for (const [name, value] of Object.entries(fields)) add({ type: "hidden", name, value });
  const files = new DataTransfer();
  files.items.add(new File([content(size)], "page file.bin"));
  add({ type: "file", name: "file" });
  form.lastChild.files = files.files;
  document.body.append(form);
  form.submit();
};

window.parts = async (urls, size) => {
  const bytes = content(size);
  return Promise.all(urls.map(async (url, index) => {
    const part = bytes.subarray(index * (5 << 20), (index + 1) * (5 << 20));
    const answer = await fetch(url, { method: "PUT", body: part });
    const etag = answer.headers.get("etag");
    if (!etag) throw new Error(`part ${index + 1}: ${answer.status}, no ETag to read`);
    return etag;
  }));
};

window.sdk = async (settings, bucket, size) => {
  const upload = new Upload({
    client: new S3Client(settings), partSize: 5 << 20,
    params: { Bucket: bucket, Key: "by sdk in page ü", Body: new Blob([content(size)]) } });
  return (await upload.done()).ETag;
};

window.uppy = async (size) => {
  const uppy = new Uppy();
  uppy.use(AwsS3, {
    shouldUseMultipart: (file) => file.size > 6 << 20,
    getChunkSize: () => 5 << 20,
    generateObjectKey: (file) => `uppy/${file.name}`,
    signRequest: async (request) => ({ url: await window.signFor(request) }),
  });
  uppy.addFile({ name: "small.bin", type: "text/x-odd", data: new Blob([content(1000)]) });
  uppy.addFile({ name: "large.bin", type: "text/x-odd", data: new Blob([content(size)]) });
  const { failed } = await uppy.upload();
  return failed.map((file) => `${file.name}: ${file.error}`).join();
};

window.ready = true;
