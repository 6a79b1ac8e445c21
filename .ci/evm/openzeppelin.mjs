// Builds the tree that standard input describes (what `stratos-evm root --leaves --json`
// prints) with OpenZeppelin's own program. Prints its root and the proof of each address.
//
//     STRATOS_EVM_MODULES=DIR node openzeppelin.mjs <root.json

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.env.STRATOS_EVM_MODULES, "package.json"));
const { StandardMerkleTree } = require("@openzeppelin/merkle-tree");

const { leaves } = JSON.parse(readFileSync(0, "utf8"));
const tree = StandardMerkleTree.of(leaves, ["address", "uint256"]);
const proofs = Object.fromEntries(
  [...tree.entries()].map(([place, [address]]) => [address, tree.getProof(place)]),
);
console.log(JSON.stringify({ root: tree.root, proofs }));
