"""The wire: infer.proto, models.proto, management.proto and the code generated from them (`make protos`)."""
