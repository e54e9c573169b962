// Counts the faces in many pictures: node many_faces_node.mjs URL PICTURE...
//
// A picture is a line, in the order in which they are done. Exits with 1 where one of them has failed.

import { readFile } from "node:fs/promises";

import { findManyFaces } from "./many_faces.mjs";

const [url, ...paths] = process.argv.slice(2);
try {
  const pictures = await Promise.all(paths.map(async (path) => [new Blob([await readFile(path)]), path]));
  for await (const { name, results, problem } of findManyFaces(url, pictures)) {
    if (results) {
      console.log(`${name}: ${results.length}`);
    } else {
      console.error(`${name}: ${problem.reason}: ${problem.detail}`);
      process.exitCode = 1;
    }
  }
} catch (error) {
  console.error(error.cause?.message || error.message); // "fetch failed" has the reason as its cause
  process.exitCode = 1;
}
