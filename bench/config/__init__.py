"""What a YAML file may say: schemas of benchmarks.yaml and generators.yaml, read and checked."""
