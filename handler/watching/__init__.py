"""What a worker tells of its requests: metrics, a log line each, and spans. Never pixels, never the text of a label."""
