"""Figures of searches and trainings for TensorBoard, MLflow and Weights & Biases, as they come."""
