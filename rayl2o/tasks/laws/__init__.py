"""What every task must obey, as functions that try it: ``check(family) == []`` in the tests of a plugin."""

from rayl2o.tasks.laws.check import LAWS, check, require
from rayl2o.tasks.laws.law import Breach, Law
from rayl2o.tasks.laws.slow import SLOW_LAWS

__all__ = ["LAWS", "SLOW_LAWS", "Breach", "Law", "check", "require"]
