// The S3 client that is part of Bun.
import { S3Client } from "bun";

const [bucket, file] = process.argv.slice(2);
const client = new S3Client({
  bucket, endpoint: process.env.AWS_ENDPOINT_URL, region: process.env.AWS_REGION,
  accessKeyId: process.env.AWS_ACCESS_KEY_ID, secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
});
const body = await Bun.file(file).arrayBuffer();
await client.write("whole ü+", body);
const writer = client.file("in parts").writer({ partSize: 5 << 20, queueSize: 2 });
for (let start = 0; start < body.byteLength; start += 1 << 20) {
  writer.write(new Uint8Array(body.slice(start, start + (1 << 20))));
  await writer.flush();
}
await writer.end();
const digest = (bytes) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
for (const key of ["whole ü+", "in parts"]) {
  const back = await client.file(key).arrayBuffer();
  if (digest(back) !== digest(body)) throw new Error(`other bytes in ${key}`);
  if ((await client.stat(key)).size !== body.byteLength) throw new Error(`length of ${key}`);
}
const piece = await client.file("in parts").slice(100, 200).arrayBuffer();
if (digest(piece) !== digest(body.slice(100, 200))) throw new Error("range");
const listed = await client.list({ prefix: "in" });
if (listed.contents.length !== 1) throw new Error(JSON.stringify(listed));
const signed = await fetch(client.presign("in parts", { expiresIn: 60 }));
if (signed.status !== 200) throw new Error(`presigned: ${signed.status}`);
await client.delete("whole ü+");
