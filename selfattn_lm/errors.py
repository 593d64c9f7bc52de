"""Errors that the command line reports in one line."""


class UserError(Exception):
    """An error that the user can fix; the command line exits with code 2.

    The message says in one sentence what is wrong, where, and what to do instead. Our own mistakes
    are `assert`s.
    """


class Interrupted(Exception):
    """The user stopped the run; the message says what was kept.

    The command line exits with code 130. An interruption that nothing reports stays a
    `KeyboardInterrupt`.
    """
