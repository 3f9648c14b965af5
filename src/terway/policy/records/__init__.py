"""What is kept of connections that were allowed or denied: what terwayd writes and tools read."""
