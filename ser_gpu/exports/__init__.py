"""The model for other runtimes: onnxruntime, browsers, torch.export, the Hugging Face Hub."""
