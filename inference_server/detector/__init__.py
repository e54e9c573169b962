"""The detector: MTCNN's pipeline in NumPy, and the engines that compute its networks."""
