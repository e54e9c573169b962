// Finds the faces in a picture over HTTP, in browsers and in Node 18 or later, without any package.

const LONGEST_WAIT = 5; // seconds that a service which cannot answer now is waited for

/**
 * The faces in a picture, most confident first.
 *
 * @param {string} url of the gateway. Its setting FACET_ALLOWED_ORIGINS must name the origin of a web page
 *   that comes from elsewhere.
 * @param {Blob} picture such as a File that was chosen or dropped.
 * @throws {Error} with what the service says, where it refuses.
 */
export async function findFaces(url, picture) {
  let response = await post(url, picture);
  const wait = Number(response.headers.get("Retry-After") ?? Infinity); // there where trying again may help
  if (wait <= LONGEST_WAIT) {
    await new Promise((resolve) => setTimeout(resolve, wait * 1000));
    response = await post(url, picture);
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(`${answer.reason}: ${answer.detail}`);
  return answer.results;
}

/** One request; options of the detection are parameters of the query. */
function post(url, picture) {
  return fetch(`${url}/predict?min_face_size=20`, {
    method: "POST",
    body: picture,
    headers: {
      "Content-Type": "application/octet-stream",
      "X-Request-Timeout": "20", // seconds that the service may take
    },
    signal: AbortSignal.timeout(30_000), // how long the network may take, too
  });
}
