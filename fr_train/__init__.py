"""A face dataset in, a recognition network out."""
