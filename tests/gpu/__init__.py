"""What a card has to show: run by `make test-gpu`, skipped elsewhere."""
