"""Hubwire: a self-hosted publish/subscribe server that speaks the wire protocols of Azure Web PubSub."""

__all__ = ["__version__"]

__version__ = "0.1.0"
