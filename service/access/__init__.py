"""Who may do what: keys, the table of rules, limits, the audit log."""
