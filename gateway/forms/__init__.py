"""What a caller may send to /predict, raw, as a form or as JSON: each becomes one DetectRequest."""
