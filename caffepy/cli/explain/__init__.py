"""Commands that show why a net says what it says, and what it looks for."""
