"""Pure core: decides and folds. No I/O, no clock, no random source; time and ids are arguments."""
