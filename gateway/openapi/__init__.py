"""The gateway's main application as an OpenAPI document, written by hand.

description     the document, with the models that the backend has now
document        what of it does not depend on them
typed_models    what does: a path and two schemas for each version of a model
faces, batches, models, oip, service   the paths, as `gateway.routes` has them
elements        what the paths are made of
failures        the error tree as answers
schemas         the objects that requests and answers have
face_schemas    those of face detection
"""
