#!/bin/sh
# Prints the answer to a picture as JSON: sh faces.sh PICTURE [URL]
#
# Needs curl 7.76. Exits with 0 where faces were looked for, and found or not; with 22 where the service
# refused, whose problem document is then printed to stderr; else with another status of curl's.
set -eu

picture=$1
url=${2:-http://127.0.0.1:8000}
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# X-Request-Timeout: how long the service may take. --max-time: how long the network may, too.
# --retry: once more after what Retry-After says, unless that is beyond --retry-max-time.
# Options of the detection are parameters of the query.
curl --silent --show-error --fail-with-body \
  --max-time 30 --retry 1 --retry-max-time 5 \
  --header 'Content-Type: application/octet-stream' --header 'X-Request-Timeout: 20' \
  --data-binary "@$picture" --output "$answer" \
  "$url/predict?min_face_size=20" || {
  status=$?
  cat "$answer" >&2
  exit "$status"
}
cat "$answer"
