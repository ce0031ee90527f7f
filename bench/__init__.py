"""What all stages share: settings, face datasets on disk, cards, planning, MLflow.

Imports nothing of the other packages; they all may import it.
"""
