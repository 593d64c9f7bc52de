"""The error that a user can fix."""


class UserError(Exception):
    """Says in one sentence what is wrong, where, and what to do instead; our own mistakes are `assert`s."""
