"""Shapes of requests and answers on the wire, one file for each family of endpoints."""
