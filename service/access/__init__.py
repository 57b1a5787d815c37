"""Access control: API keys, the table of rules, rate limits and the audit log."""
