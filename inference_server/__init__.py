"""The backend: a supervisor, its worker processes, and the detector each of them holds."""
