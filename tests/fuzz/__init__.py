"""Inputs that are damaged, hostile or drawn by chance: each ends in a result or an error of caffepy's."""
