"""This node among nodes: the one way down for every message, and the questions nodes ask one another."""
