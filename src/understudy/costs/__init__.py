"""Prices with their date and source, estimates, and the ledger."""
