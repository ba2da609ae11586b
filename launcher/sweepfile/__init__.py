"""The sweep file: YAML with places, what it means, and every problem at once."""
