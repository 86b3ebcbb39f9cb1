"""What people do with captions beside training: packages of their own, which may be absent."""
