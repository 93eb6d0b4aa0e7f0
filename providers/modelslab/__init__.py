"""ModelsLab (modelslab.com), once stablediffusionapi.com."""
