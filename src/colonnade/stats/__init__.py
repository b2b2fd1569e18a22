"""Pure numbers: what rows looked like, how far two sets of rows lie apart, how good scores are."""
