"""What happens to a batch, in this order: trim, augment, mel, mask, cnn. Each stage is one `nn.Module`."""
