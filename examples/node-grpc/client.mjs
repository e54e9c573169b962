// A client of the service Inference, made from its contract.

import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const CONTRACT = fileURLToPath(new URL("../../protos/infer.proto", import.meta.url));
const ONCE_MORE = {
  methodConfig: [
    {
      name: [{ service: "Inference" }],
      retryPolicy: {
        maxAttempts: 2,
        initialBackoff: "1s",
        maxBackoff: "5s",
        backoffMultiplier: 1,
        retryableStatusCodes: ["UNAVAILABLE"], // nobody there, or not ready
      },
    },
  ],
};

/** A client, whose methods are `predict` and `predictStream`. */
export function connect(address) {
  // Zeros are not sent, so they are put in again; of a oneof there is a member that says what of it is there.
  const contract = protoLoader.loadSync(CONTRACT, { defaults: true, oneofs: true, longs: Number });
  const { Inference } = grpc.loadPackageDefinition(contract);
  const options = { "grpc.service_config": JSON.stringify(ONCE_MORE) };
  return new Inference(address, grpc.credentials.createInsecure(), options);
}
