"""What a run leaves behind and what it needs: cards, stages, missing inputs, plans, MLflow."""
