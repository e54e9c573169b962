"""The wire: infer.proto and the code generated from it (`make protos`)."""
