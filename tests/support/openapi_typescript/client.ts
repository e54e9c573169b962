// Calls a gateway by types that openapi-typescript has made of its document, and prints what it is answered, as JSON:
// node client.js URL PICTURE

import { readFileSync } from "node:fs";

import createClient from "openapi-fetch";

import type { components, paths } from "./schema.js";

const [url, picture] = process.argv.slice(2) as [string, string];
const client = createClient<paths>({ baseUrl: url });

const image = readFileSync(picture).toString("base64");
const found = await client.POST("/predict", { body: { image, options: { min_face_size: 60 } } });
if (!found.data) throw new Error(found.error.detail);
const faces: components["schemas"]["Face"][] = found.data.results;

const refused = await client.POST("/predict", { body: { image: "?" } });
const problem: components["schemas"]["Problem"] | undefined = refused.error;

const said = await client.POST("/models/echo/predict", { body: { text: "hello", repeat: 2 } });
const text: string | undefined = said.data?.text;

const area = await client.POST("/models/area/predict", { body: { corners: [{ x: 1.5 }] } });
const middle: components["schemas"]["area.1.0.answer.Point"] | undefined = area.data?.middle;

const listed = await client.GET("/models/{name}", { params: { path: { name: "echo" } } });

console.log(
  JSON.stringify({
    left: faces.map((face) => face.box.upLeft.x),
    reason: problem?.reason,
    text,
    middle: middle?.x,
    state: listed.data?.state,
  }),
);
