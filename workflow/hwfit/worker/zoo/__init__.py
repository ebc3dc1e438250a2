"""One module a model: its definition in each framework, from one safetensors checkpoint."""
