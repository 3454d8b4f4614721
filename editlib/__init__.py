"""EDIT, mistake-driven key reasoning step distillation, made reproducible."""

__version__ = "0.1.0"
