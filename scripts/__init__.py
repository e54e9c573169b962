"""What a developer runs, mostly by make: never imported by the product."""
