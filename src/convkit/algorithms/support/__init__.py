"""What several algorithms share: blocks of the extended input, and transforms."""
