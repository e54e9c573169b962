"""The wire: infer.proto, models.proto and the code generated from them (`make protos`)."""
