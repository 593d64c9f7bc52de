"""What one can do; the command line calls the same functions. What a user can fix is a `UserError`."""

from selfattn_lm.verbs.learning import fit as fit, pretrain as pretrain, study as study, train as train
from selfattn_lm.verbs.using import evaluate as evaluate, export as export, predict as predict
