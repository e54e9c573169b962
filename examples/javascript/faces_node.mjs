// Prints the faces in a picture: node faces_node.mjs PICTURE [URL]
//
// A face is a line: left, top, right and bottom of its box, and its confidence.

import { readFile } from "node:fs/promises";

import { findFaces } from "./faces.mjs";

const [picture, url = "http://127.0.0.1:8000"] = process.argv.slice(2);
try {
  for (const { box, confidence } of await findFaces(url, new Blob([await readFile(picture)]))) {
    console.log(box.upLeft.x, box.upLeft.y, box.lowerRight.x, box.lowerRight.y, confidence);
  }
} catch (error) {
  console.error(error.cause?.message || error.message); // "fetch failed" has the reason as its cause
  process.exitCode = 1;
}
