"""What happens to a batch of clips, one stage a file: each is an `nn.Module` that can be used by itself."""
