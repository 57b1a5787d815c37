"""The commands of ``python -m training``, one module each.

They import what they need when they run, so that ``synthesize`` and ``--help`` need no torch.
"""
