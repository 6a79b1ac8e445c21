// Compiles contracts/*.sol into artifacts/*.json.
//
//     npm ci --prefix evm && node evm/build.mjs            writes them
//     npm ci --prefix evm && node evm/build.mjs --check    fails when one differs
//
// STRATOS_EVM_MODULES names a folder that holds node_modules, if it is not this one.
// An artefact says all that its bytecode follows from: the compiler, pinned by the
// lock file, its settings, and the hash of the source.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const modules = process.env.STRATOS_EVM_MODULES ?? here;
const require = createRequire(path.join(modules, "package.json"));
const solc = require("solc");
const { keccak256 } = require("js-sha3");

// Paris: later ones have opcodes (PUSH0) that Ethereum Classic lacked for long.
// No metadata hash: the bytecode follows from the code alone, not from comments.
const settings = {
  evmVersion: "paris",
  optimizer: { enabled: true, runs: 200 },
  metadata: { bytecodeHash: "none", appendCBOR: false },
  outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
};

function compile(file, source) {
  const input = { language: "Solidity", sources: { [file]: { content: source } }, settings };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  // A warning is an error here: there is nothing to get used to.
  if (output.errors?.length) {
    throw new Error(output.errors.map((error) => error.formattedMessage).join("\n"));
  }
  return output.contracts[file][path.basename(file, ".sol")];
}

// The first four bytes of calls and errors, by signature.
function selectors(abi) {
  const named = abi.filter(({ type }) => type === "function" || type === "error");
  const signature = ({ name, inputs }) => `${name}(${inputs.map(({ type }) => type).join(",")})`;
  return Object.fromEntries(
    named.map((item) => [signature(item), `0x${keccak256(signature(item)).slice(0, 8)}`]),
  );
}

function artefact(file) {
  const source = readFileSync(path.join(here, "contracts", file), "utf8");
  const { abi, evm } = compile(file, source);
  const { outputSelection: _, ...shown } = settings;
  const content = {
    contract: path.basename(file, ".sol"),
    source: { file, sha256: createHash("sha256").update(source).digest("hex") },
    compiler: { solc: solc.version(), settings: shown },
    selectors: selectors(abi),
    abi,
    bytecode: `0x${evm.bytecode.object}`,
  };
  return `${JSON.stringify(content, null, 2)}\n`;
}

const check = process.argv.includes("--check");
for (const file of readdirSync(path.join(here, "contracts")).sort()) {
  const target = path.join(here, "artifacts", file.replace(/\.sol$/, ".json"));
  const wanted = artefact(file);
  if (!check) {
    writeFileSync(target, wanted);
  } else if (readFileSync(target, "utf8") !== wanted) {
    throw new Error(`${target} is not what ${file} compiles to; run node evm/build.mjs`);
  }
  console.log(`${path.basename(target)}: ${check ? "as built" : "written"}`);
}
