"""What make runs: never imported by the product."""
