"""Where examples come from: data sets by name, their files, the store that processes share, downloads."""
