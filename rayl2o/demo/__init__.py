"""The whole path in one go: train, distil, fine-tune, tune the rivals, compare, report."""

from rayl2o.demo.pipeline import DemoConfig, DemoResult, run_demo

__all__ = ["DemoConfig", "DemoResult", "run_demo"]
