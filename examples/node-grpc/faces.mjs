// Prints the faces in a picture, over gRPC: node faces.mjs PICTURE [ADDRESS]
//
// Needs `npm ci` in this folder. A face is a line: left, top, right and bottom of its box, and its confidence.

import { readFile } from "node:fs/promises";

import { connect } from "./client.mjs";

const [picture, address = "127.0.0.1:50051"] = process.argv.slice(2);
const image = { rawData: await readFile(picture), options: { minFaceSize: 20 } };
const client = connect(address);
client.predict(image, { deadline: Date.now() + 20_000 }, (error, answer) => {
  if (error) {
    console.error(error.details);
    process.exitCode = 1;
  }
  for (const { box, confidence } of answer?.results ?? []) {
    console.log(box.upLeft.x, box.upLeft.y, box.lowerRight.x, box.lowerRight.y, confidence);
  }
  client.close();
});
