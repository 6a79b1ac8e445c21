// Where the gateway is, for every script here.
import { createHash } from "node:crypto";

export const { AWS_ENDPOINT_URL: endpoint, AWS_REGION: region } = process.env;
export const credentials = {
  accessKeyId: process.env.AWS_ACCESS_KEY_ID,
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
};
export const options = { endpoint, region, credentials, forcePathStyle: true, maxAttempts: 1 };
export const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

export function same(found, wanted, what) {
  if (found !== wanted) throw new Error(`${what}: ${found} is not ${wanted}`);
}

// Runs the part that is named on the command line.
export async function main(parts) {
  const [name, ...rest] = process.argv.slice(2);
  try {
    await parts[name](...rest);
  } catch (error) {
    const own = error.stack.split("\n").filter((line) => line.includes("/js/")).slice(0, 2);
    console.error(`${error.name}: ${error.message}\n${own.join("\n")}`);
    process.exit(1);
  }
  process.exit(0);
}
