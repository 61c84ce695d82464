"""The one engine that chat, evaluation, server, navigation and training samples call."""
