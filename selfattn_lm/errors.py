"""The one exception that is the user's to mend."""


class UserError(Exception):
    """Says in one sentence what is wrong, where, and what to do instead; our own mistakes are `assert`s."""
