"""The language of the house: requests, messages, commands, names and errors. Imports nothing of ours."""
