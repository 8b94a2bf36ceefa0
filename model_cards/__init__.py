"""Reports, pictures and cards of the models that aural ships."""
