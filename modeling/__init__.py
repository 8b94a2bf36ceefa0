"""Attention, Listen-Attend-Spell, and their caches."""
