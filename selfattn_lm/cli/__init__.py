"""The command line: parse, call the function of the same name, print what it returns."""

from selfattn_lm.cli.app import main as main
