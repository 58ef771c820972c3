"""Sockets in: the listeners, the WebSocket protocol of one client, and the front that decides between them."""
