// Counts the faces in many pictures, over one gRPC stream: node many_faces.mjs ADDRESS PICTURE...
//
// Needs `npm ci` in this folder. A picture is a line, in the order in which they are done. Exits with 1 where
// one of them has failed.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

import grpc from "@grpc/grpc-js";

import { connect } from "./client.mjs";

const [address, ...paths] = process.argv.slice(2);
const unanswered = new Map(paths.entries()); // paths by the numbers under which they are sent
const client = connect(address);

/** Send what is not answered yet, and print the answers. */
async function findFaces() {
  const call = client.predictStream({ deadline: Date.now() + 600_000 }); // of all of them
  const ended = once(call, "end"); // throws what the stream ends with, if that is an error
  ended.catch(() => {}); // which is told below
  call.on("data", ({ number, outcome, results, problem }) => {
    const path = unanswered.get(number);
    unanswered.delete(number);
    if (outcome === "results") {
      console.log(`${path}: ${results.results.length}`);
    } else {
      console.error(`${path}: ${problem.reason}: ${problem.detail}`);
      process.exitCode = 1;
    }
  });
  for (const [number, path] of [...unanswered]) {
    const picture = { number, image: { rawData: await readFile(path) }, timeoutSeconds: 60 }; // of its own
    // The backend takes sixteen pictures at once; more are sent as answers come.
    if (!call.write(picture)) await Promise.race([once(call, "drain"), ended]);
  }
  call.end();
  await ended;
}

try {
  await findFaces().catch(async (error) => {
    if (error.code !== grpc.status.UNAVAILABLE) throw error;
    await sleep(1000); // the worker of the stream has gone, and another one takes the rest
    await findFaces();
  });
} catch (error) {
  console.error(error.details ?? error.message);
  process.exitCode = 1;
}
client.close();
