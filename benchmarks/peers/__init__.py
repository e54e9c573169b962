"""What Facet is measured beside."""
