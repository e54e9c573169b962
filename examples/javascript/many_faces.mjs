// Finds the faces in many pictures over HTTP, in browsers and in Node 18 or later, without any package.

const LONGEST_WAIT = 5; // seconds that a service which cannot answer now is waited for

/**
 * What comes of each picture, as soon as it is done: `{index, name, status: 200, results: [...]}` or
 * `{index, name, status, problem: {reason, detail}}`.
 *
 * @param {string} url of the gateway, as of findFaces in faces.mjs.
 * @param {[Blob, string][]} pictures and their names, 100 at most unless the gateway takes more.
 * @throws {Error} where the service refuses them all, or the answer was cut off.
 */
export async function* findManyFaces(url, pictures) {
  let response = await post(url, pictures);
  const wait = Number(response.headers.get("Retry-After") ?? Infinity); // there where trying again may help
  if (wait <= LONGEST_WAIT) {
    await new Promise((resolve) => setTimeout(resolve, wait * 1000));
    response = await post(url, pictures);
  }
  if (!response.ok) throw told(await response.json());
  for await (const line of lines(response.body)) {
    const answer = JSON.parse(line);
    if (answer.done) return;
    if (answer.done === false) throw told(answer.problem);
    yield answer;
  }
  throw new Error("The answer was cut off.");
}

/** One request, which has the pictures as files of a form. */
function post(url, pictures) {
  const form = new FormData();
  for (const [picture, name] of pictures) form.append("file", picture, name);
  return fetch(`${url}/predict/batch?min_face_size=20`, {
    method: "POST",
    body: form,
    headers: { "X-Request-Timeout": "60" }, // seconds that each picture may take
    signal: AbortSignal.timeout(600_000), // how long all of it may take
  });
}

/** The lines of a text as they come. */
async function* lines(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let begun = "";
  for (let piece; !(piece = await reader.read()).done; ) {
    const whole = (begun + piece.value).split("\n");
    begun = whole.pop();
    yield* whole;
  }
}

function told(problem) {
  return new Error(`${problem.reason}: ${problem.detail}`);
}
