"""What several tests need: small networks, an independent reference, image files of every kind."""
