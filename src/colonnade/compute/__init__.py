"""Where work runs: the user's code as it is loaded, named by its digest, and called."""
