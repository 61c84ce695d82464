"""The server: OpenAI's interface in front of the engine, for text, pictures, sounds and videos."""
