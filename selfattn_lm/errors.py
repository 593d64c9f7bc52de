"""The one exception that is the user's to mend."""


class UserError(Exception):
    """Says in one sentence what is wrong, where, and what to do instead.

    The command line prints it on one line and exits with code 2. Our own mistakes are `assert`s, never this.
    """
