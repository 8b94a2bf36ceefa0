"""One config class per model type."""
