"""The commands of ``python -m training``, one module each.

Each imports what it needs only when it runs, so that ``synthesize`` and ``--help`` need no torch.
"""
