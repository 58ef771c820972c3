"""MQTT 3.1.1 and 5.0: packets as values, and the session that turns them into requests and messages of a hub. Pure."""
