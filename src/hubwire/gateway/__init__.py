"""The life of one client connection: handshake, opening, requests, close."""
