"""A face dataset and a recipe in, a trained recognition network out."""
