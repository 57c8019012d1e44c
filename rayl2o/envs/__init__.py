"""gymnasium environments: an episode is an optimization, an agent an optimizer. Importing this registers the ids."""

from rayl2o.envs.registration import EnvInfo, env_id, environments, register_all
from rayl2o.envs.settings import ACTIONS, EnvSettings
from rayl2o.envs.single import OptimizationEnv
from rayl2o.envs.vector import OptimizationVectorEnv

__all__ = [
    "ACTIONS",
    "EnvInfo",
    "EnvSettings",
    "OptimizationEnv",
    "OptimizationVectorEnv",
    "env_id",
    "environments",
    "register_all",
]

register_all()
