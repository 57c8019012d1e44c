"""What is told of a run while it goes on: status, TensorBoard events; and how a run stands, read from its folder."""
